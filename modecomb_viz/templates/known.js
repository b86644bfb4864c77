// BokehJS takes models that have just come from the server for new ones of its own, until it has sent something.
const OF_THE_SERVER = /^p\d+$/

for (const shown of Bokeh.documents) {
  const apply = shown.apply_json_patch.bind(shown)
  shown.apply_json_patch = (...patch) => {
    apply(...patch)
    for (const model of shown._new_models) {
      if (OF_THE_SERVER.test(model.id)) shown._new_models.delete(model)
    }
  }
}
