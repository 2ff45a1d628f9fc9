// A field that takes a number as it is typed, with a point or a comma, or says why it does not.
// `problem(v)`: what was expected where v will not do. A browser's own number field would drop the
// comma of 0,3 without a word. `read()`: the number, or null after a refusal.
let fields = 0;
const numberText = v => String(+v.toPrecision(12));
// ARIA's numbers have no exponent: 0.0000000001, not 1e-10.
const plainText = v => v.toLocaleString("en", { useGrouping: false, maximumFractionDigits: 20 });
function numberField(problem) {
  const field = document.createElement("input"), note = document.createElement("span");
  Object.assign(field, { type: "text", inputMode: "decimal", autocomplete: "off" });
  Object.assign(note, { className: "refused", id: `rlhf-number-${fields++}` });
  field.setAttribute("role", "spinbutton");
  note.setAttribute("role", "alert");
  const say = reason => {
    note.textContent = reason;
    for (const [key, value] of [["aria-invalid", "true"], ["aria-describedby", note.id]])
      if (reason) field.setAttribute(key, value);
      else field.removeAttribute(key);
  };
  const read = () => {
    const text = field.value.trim().replace("\u2212", "-"), got = `, got "${text}".`;
    if (/^[+-]?[1-9]\d{0,2},\d{3}$/.test(text)) {
      say(`Expected a point or no separator of thousands${got}`);
      return null;
    }
    const is = /^[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?$/i.test(text);
    const v = is ? Number(text.replace(",", ".")) : NaN;
    const wrong = problem(Number.isFinite(v) ? v : NaN);
    say(wrong ? `Expected ${wrong}${got}` : "");
    return wrong ? null : v;
  };
  const show = v => {
    field.value = v === null ? "" : numberText(v);
    if (v === null) field.removeAttribute("aria-valuenow");
    else field.setAttribute("aria-valuenow", plainText(v));
    say("");
  };
  return { field, note, read, show };
}
