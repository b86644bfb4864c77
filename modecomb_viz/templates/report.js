// The page's script: shows the frames that the controls choose, tells of points of a map, and chooses views.
window.modecomb = (() => {
  "use strict"
  const element = (id) => document.getElementById(id)
  let parsed = null
  const page = () => (parsed ??= JSON.parse(element("modecomb-frames").textContent))
  const found = new Map()
  const model = (key, how = "get_model_by_id") => {
    if (!found.has(key)) {
      const one = Bokeh.documents.map((document) => document[how](key)).find((known) => known !== null)
      if (one === undefined) { return null }
      found.set(key, one)
    }
    return found.get(key)
  }
  const by_name = (name) => model(name, "get_model_by_name")

  // Values: each is decoded when it is first shown.
  const ARRAYS = {float32: Float32Array, int32: Int32Array}
  const decoded = new Map()
  const value = (place) => {
    if (!decoded.has(place)) { decoded.set(place, decode(page().values[place])) }
    return decoded.get(place)
  }
  const decode = (given) => {
    if (Array.isArray(given)) { return given.map(decode) }
    if (given === null || typeof given !== "object") { return given }
    if ("$array" in given) { return unpacked(given) }
    if ("$map" in given) { return new Map(given.$map.map(([key, of]) => [decode(key), decode(of)])) }
    if ("$model" in given) { return model(given.$model) }
    if ("$number" in given) { return Number(given.$number) }
    return Object.fromEntries(Object.entries(given).map(([key, of]) => [key, decode(of)]))
  }
  const unpacked = ({$array, shape, data}) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0))
    if (shape.length === 1) { return new ARRAYS[$array](bytes.buffer) }
    return Bokeh.require("core/util/ndarray").ndarray(bytes.buffer, {dtype: $array, shape})
  }

  // Controls: the place of the entry that each one chooses.
  const chosen = () => page().controls.map((_, i) => {
    const widget = by_name(`control-${i}`)
    return widget.value ?? widget.active
  })
  const frame_of = (picture, places) => picture.axes.reduce((at, [i, count]) => at * count + places[i], 0)
  const start_of = (picture) => frame_of(picture, page().controls.map((control) => control.start))
  const control = (label) => page().controls.findIndex((one) => one.label === label)

  const is_there = (picture) => model(Object.values(picture.sources)[0]) !== null
  const show = () => {
    const places = chosen()
    for (const picture of page().pictures.filter(is_there)) {
      const at = frame_of(picture, places), last = picture.at ?? start_of(picture)
      if (at !== last) { apply(picture, picture.frames[last], picture.frames[at]) }
      picture.at = at
      if (picture.inspector) { tell(picture) }
    }
  }

  // A property is set when it differs from the last frame, so that a reader's zoom stays.
  const apply = (picture, [before], [properties, columns]) => {
    properties.forEach((place, i) => {
      if (place !== before[i]) { model(picture.models[i])[picture.names[i]] = value(place) }
    })
    for (const [name, own] of Object.entries(columns)) {
      const data = Object.fromEntries(Object.entries(own).map(([column, place]) => [column, value(place)]))
      model(picture.sources[name]).data = data
    }
  }

  // The inspector of a map.
  const named = (name) => page().pictures.find((picture) => picture.name === name)
  const nearest = (axis, at) => axis.reduce((best, x, i) => (Math.abs(x - at) < Math.abs(axis[best] - at) ? i : best), 0)
  const member_of = (picture) => {
    const [strengths, quantities, splits] = ["Perturbation strength", "quantity", "split"].map(control)
    const own = picture.axes.filter(([i]) => ![strengths, quantities, splits].includes(i))
    const places = chosen()
    return picture.inspector.members[own.reduce((at, [i, count]) => at * count + places[i], 0)]
  }
  const inspect = (name, u, v) => {
    const picture = named(name), {u: across, v: up} = member_of(picture)
    picture.point = [nearest(across, u), nearest(up, v)]
    tell(picture)
  }
  const move = (name, du, dv) => {
    const picture = named(name), {u, v} = member_of(picture)
    const inside = (at, axis) => Math.min(Math.max(at, 0), axis.length - 1)
    const [i, j] = picture.point ?? [(u.length - 1) >> 1, (v.length - 1) >> 1]
    picture.point = [inside(i + du, u), inside(j + dv, v)]
    tell(picture)
  }

  const digits = (x) => (Number.isFinite(x) ? String(Number(x.toPrecision(3))).replace("-", "−") : "not a number")
  const signed = (x) => (x > 0 ? "+" : "") + digits(x)
  const UNITS = {loss: "nats per example", accuracy: "fraction"}

  const tell = (picture) => {
    const member = member_of(picture), {u, v, marks} = member
    const [i, j] = (picture.point ??= [(u.length - 1) >> 1, (v.length - 1) >> 1])
    const places = chosen(), splits = page().controls[control("split")].entries
    const at = [u[i], v[j]]
    const ends = ["A", "π(B)"].map((name) => marks.find(([known]) => known === name))
    const rows = []
    for (const [q, quantity] of page().controls[control("quantity")].entries.entries()) {
      const found = splits.map((_, s) => {
        places[control("quantity")] = q
        places[control("split")] = s
        const {image, error} = picture.frames[frame_of(picture, places)][1].image
        const of = (place, k, l) => value(place)[0][l * u.length + k]
        const worse = worse_end(ends, member, (k, l) => of(image, k, l), quantity)
        const two = error === undefined ? 0 : of(error, i, j)
        return {here: of(image, i, j), worse, two, estimate: error !== undefined}
      })
      const about = ({two}) => (two > 0 ? ` ± ${digits(two)}` : Number.isNaN(two) ? " ± not known" : "")
      rows.push([`${quantity} [${UNITS[quantity]}]`, ...found.map((one) => digits(one.here) + about(one))])
      rows.push([
        `against the worse of A and π(B)`,
        ...found.map(({here, worse}) => (worse === null ? "not on this plane" : signed(here - worse))),
      ])
      if (found.some(({estimate}) => estimate) && q === 0) { rows.estimate = true }
    }
    fill(picture, member, at, rows, splits)
    const source = by_name(`${picture.name}-point`)
    source.data = {u: [at[0]], v: [at[1]]}
  }

  // The worse end's value, where both ends are points of the grid.
  const worse_end = (ends, {u, v}, of, quantity) => {
    if (ends.includes(undefined)) { return null }
    const values = ends.map(([, x, y]) => {
      const k = nearest(u, x), l = nearest(v, y)
      const on = Math.abs(u[k] - x) < 1e-6 * Math.abs(u[1] - u[0]) && Math.abs(v[l] - y) < 1e-6 * Math.abs(v[1] - v[0])
      return on ? of(k, l) : NaN
    })
    if (values.some((one) => Number.isNaN(one))) { return null }
    return quantity === "loss" ? Math.max(...values) : Math.min(...values)
  }

  // Texts are set as texts: nothing of a result is read as HTML.
  const made = (tag, text, into, name) => {
    const one = document.createElement(tag)
    one.textContent = text
    if (name) { one.className = name }
    into.append(one)
    return one
  }
  const fill = (picture, member, [u, v], rows, splits) => {
    const panel = element(`${picture.name}-inspector`)
    panel.replaceChildren()
    made("h4", `u = ${digits(u)}, v = ${digits(v)}`, panel)
    made("p", member.words.replace("{u}", digits(u)).replace("{v}", digits(v)), panel)
    const table = made("table", "", panel), head = made("tr", "", made("thead", "", table))
    for (const cell of ["", ...splits]) { made("th", cell, head) }
    const body = made("tbody", "", table)
    for (const row of rows) {
      const line = made("tr", "", body)
      row.forEach((cell, i) => made(i ? "td" : "th", cell, line))
    }
    if (rows.estimate) { made("p", "The map is an estimate: ± two standard errors; without it the point was evaluated.", panel) }
    const away = (mark) => Math.hypot(mark[1] - u, mark[2] - v)
    const near = [...member.marks].sort((a, b) => away(a) - away(b))[0]
    if (near) { made("p", `Nearest named point: ${near[0]}${away(near) < 1e-9 ? ", this one" : `, ${digits(away(near))} away`}`, panel) }
    const strengths = page().controls[control("Perturbation strength")]
    const strength = picture.inspector.strengths && strengths
      ? ` --at strength=${strengths.entries[chosen()[control("Perturbation strength")]]}` : ""
    made("p", "As a checkpoint:", panel)
    made("pre", `${member.command} --at u=${u} --at v=${v}${strength} --out point.safetensors`, panel)
  }

  // Views: one claim, one picture, or all.
  const view = (name) => {
    const all = !document.querySelector(`[data-view~="${CSS.escape(name)}"]`)
    for (const section of document.querySelectorAll("section[data-view], .claim[data-view]")) {
      const parts = section.dataset.view.split(" ")
      section.classList.toggle("away", !all && !parts.includes(name))
    }
    for (const button of document.querySelectorAll("nav button")) {
      button.setAttribute("aria-pressed", String(button.value === (all ? "all" : name)))
    }
    const select = element("view")
    select.value = [...select.options].some((option) => option.value === name) ? name : ""
  }
  const choose = (name) => {
    view(name)
    history.replaceState(null, "", name === "all" ? location.pathname : `#${name}`)
    window.scrollTo({top: 0})
  }

  const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1]}
  const listen = () => {
    for (const button of document.querySelectorAll("nav button")) {
      button.addEventListener("click", () => choose(button.value))
    }
    element("view").addEventListener("change", (event) => choose(event.target.value || "all"))
    for (const map of document.querySelectorAll("[data-map]")) {
      map.addEventListener("keydown", (event) => {
        if (!(event.key in ARROWS)) { return }
        event.preventDefault()
        move(map.dataset.map, ...ARROWS[event.key])
      })
    }
    let before = "all"
    window.addEventListener("beforeprint", () => {
      before = decodeURIComponent(location.hash.slice(1)) || "all"
      view("all")
    })
    window.addEventListener("afterprint", () => view(before))
    view(decodeURIComponent(location.hash.slice(1)) || "all")
  }

  // Pictures are made one after the other, those that are looked at first.
  const later = () => new Promise((then) => setTimeout(then, 0))
  const mark = (name) => { document.documentElement.dataset[name] = String(Math.round(performance.now())) }
  const idle = async (document) => { while (!document.is_idle) { await new Promise((then) => setTimeout(then, 10)) } }
  const embed = async () => {
    const given = [...document.querySelectorAll("script.document")]
    const away = (script) => element(script.dataset.of)?.classList.contains("away") ?? false
    given.sort((a, b) => away(a) - away(b))
    for (const script of given) {
      const [docs, item] = JSON.parse(script.textContent)
      await Bokeh.embed.embed_items(docs, [item])
      await later()
      if (script === given[1]) {
        await Promise.all(Bokeh.documents.map(idle))
        mark("opened")
        show()
      }
    }
    await Promise.all(Bokeh.documents.map(idle))
    document.documentElement.classList.remove("waiting")
    mark("painted")
    await later()
    show()
  }
  listen()
  embed()
  return {show, inspect, move}
})()
