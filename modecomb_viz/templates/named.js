// Gives what widgets draw the names and roles that they leave out, as it comes: for readers of the screen.
const TITLE = ".title:not([aria-level])"
const SECTION = "h6:not([aria-level])"
const STEP = ".MuiInputAdornment-root > button:not([aria-label])"
const HELP = "span[aria-label]:empty:not([role])"
const HANDLE = ".noUi-handle:not([aria-label])"
const PROGRESS = "[role=progressbar]:not([aria-label])"
const FOLD = ".MuiCardHeader-action > button[aria-label='show more']"
const SPACE = ".MuiToolbar-root > h5:not([aria-hidden])"

const set = (root, selector, attributes) => {
  for (const element of root.querySelectorAll(selector)) {
    for (const [name, value] of Object.entries(attributes(element))) element.setAttribute(name, value)
  }
}

const named = (root) => {
  set(root, TITLE, () => ({"aria-level": "1"}))
  set(root, SECTION, () => ({"aria-level": "2"}))
  set(root, STEP, (button) => {
    const what = button.closest(".MuiFormControl-root")?.querySelector("label")?.textContent.trim() ?? "the number"
    const less = button.parentElement.matches(".MuiInputAdornment-positionStart")
    return {"aria-label": `${less ? "Decrease" : "Increase"} ${what}`}
  })
  set(root, HELP, () => ({role: "img"}))
  set(root, HANDLE, () => ({"aria-label": root.querySelector(".bk-slider-title")?.textContent.split(":")[0] || "Slider"}))
  set(root, PROGRESS, () => ({"aria-label": "Progress"}))
  set(root, FOLD, (button) => {
    const head = button.closest(".MuiCardHeader-root").querySelector(".MuiCardHeader-content")
    return {"aria-label": head.textContent.trim()}
  })
  set(root, SPACE, () => ({"aria-hidden": "true"}))
}

const watch = (root) => {
  named(root)
  new MutationObserver(() => named(root)).observe(root, {childList: true, subtree: true})
  for (const element of root.querySelectorAll("*")) {
    if (element.shadowRoot) watch(element.shadowRoot)
  }
}

const attach = Element.prototype.attachShadow
Element.prototype.attachShadow = function (options) {
  const root = attach.call(this, options)
  watch(root)
  return root
}
watch(document)
