// Predictions: the notebook's own entries (`renderEntry`, put before this), with a small model for
// each in the place of the kernel's. What is entered is kept in this browser.
{
  const looks = {};
  const name = data => `rlhf-prediction-${data.name}`;
  const numberOf = value => String(+value.toPrecision(6));
  const mine = (data, value) => value === null ? data.nothing
    : data.kind === "curve" ? "The dashed line is your sketch."
    : `You predicted: ${data.kind === "number" ? numberOf(value) : value}`;
  const right = (data, value) => data.kind === "number"
    ? Math.abs(value - data.truth) <= data.within : value === data.truth;
  const said = (data, value) =>
    data.answers[value === null ? "none" : right(data, value) ? "right" : "wrong"];
  const entered = data => {
    try { return JSON.parse(localStorage.getItem(name(data))); } catch { return null; }
  };
  // What anywidget asks of a model: get, set, save_changes, on.
  const model = (data, state) => {
    const listeners = [];
    const made = {
      get: key => state[key],
      set: (key, value) => {
        state[key] = value;
        listeners.filter(([names]) => names.includes(`change:${key}`)).forEach(([, f]) => f());
      },
      save_changes: () => {
        let status = "Kept in this browser.";
        try { localStorage.setItem(name(data), JSON.stringify(state.value)); }
        catch { status = "Not kept: this browser stores nothing for this page."; }
        made.set("status", status);
        (looks[data.name] ?? []).forEach(look => look(state.value));
      },
      on: (names, listener) => listeners.push([names.split(" "), listener]),
    };
    return made;
  };
  for (const place of document.querySelectorAll(".entry")) {
    const data = JSON.parse(place.dataset.entry), value = entered(data);
    const made = model(data, { ...data, value, status: "", mine: mine(data, value),
      said: data.locked ? said(data, value) : "" });
    if (data.locked)
      (looks[data.name] ??= []).push(value => {
        made.set("value", value);
        made.set("said", said(data, value));
        made.set("mine", mine(data, value));
      });
    place.replaceChildren();
    renderEntry({ model: made, el: place });
  }
}
