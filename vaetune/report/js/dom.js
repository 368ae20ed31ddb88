// Creates elements and formats numbers. Text of a search never becomes markup: no HTML is parsed.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(2).filter((child) => child !== null && child !== undefined));
  return element;
}

const html = (name, attributes = {}, ...children) => fill(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

let ids = 0;
const newId = (stem) => `${stem}-${++ids}`;

// The text for a missing value, and the same formats as in text/units.py.
const NOTHING = "–";

function short(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NOTHING;
  const size = Math.abs(value);
  let text;
  if (Number.isInteger(value) && size < 1e4) text = String(value);
  else if (size >= 1e6) text = `${Number((value / 1e6).toPrecision(4))}M`;
  else if (size >= 1e4) text = `${Number((value / 1e3).toPrecision(4))}k`;
  else text = String(Number(value.toPrecision(4)));
  return text.replace("-", "−");
}

const NOT_USED = "not used"; // text for a hyperparameter that a trial does not use

// The text of a value of a column: a number, a category, or that the trial does not use it.
function textOf(column, value) {
  if (value === null && column.kind === "hyperparameter") return NOT_USED;
  return value !== null && column.labels.length ? column.labels[value] : short(value);
}

function nats(value, decimals = 2) {
  if (value === null || value === undefined) return NOTHING;
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return value.toLocaleString("en", digits).replace("-", "−");
}

const counted = (number, thing) => `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;

function duration(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [minutes, hours] = [Math.floor(whole / 60), Math.floor(whole / 3600)];
  if (minutes < 60) return `${minutes} min ${whole % 60} s`;
  if (hours < 48) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} days ${hours % 24} h`;
}
