// Text that the browser keeps: told once at first, then replaced by whatever comes. Where nothing can be kept, nothing
// is told.
export function render({model}) {
  try {
    const storage = model.lasting ? window.localStorage : window.sessionStorage
    model.send_msg({text: storage.getItem(model.key)})
    model.on("msg:custom", (text) => storage.setItem(model.key, text))
  } catch (error) {
    if (!(error instanceof DOMException)) throw error
  }
  return document.createElement("span")
}
