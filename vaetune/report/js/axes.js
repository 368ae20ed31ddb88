// Scales and axes. The scale of an axis depends on its column: logarithmic, linear, or equal steps
// between choices. Losses use the logarithm of the difference to the data's entropy floor, or are
// linear if there is none.

const SPREAD = 24; // largest width in pixels over which the points of one choice are spread

// Spreads the points of one choice reproducibly.
const spread = (index, room) => (((index * 0.618) % 1) - 0.5) * Math.min(SPREAD, room);

function rangeOf(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value === null || value === undefined || !Number.isFinite(value)) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return low <= high ? [low, high] : [0, 1];
}

// Makes a scale from values to pixels, with ticks, labels and the inverse mapping.
// kind: scale of the column; floor: entropy floor in nats per image, or null; pixels: [first, last];
// labels: texts of a category, by value; margin: free space at both ends, relative to the range.
function makeScale({ values, kind, labels = [], floor = 0, pixels, margin = 0.04 }) {
  if (kind === "choice") return choiceScale(values, pixels, labels);
  const [low, high] = rangeOf(values);
  const hasFloor = kind === "excess" && floor !== null;
  const offset = hasFloor && low > floor ? floor : 0;
  const isLog = kind !== "linear" && (kind !== "excess" || hasFloor) && low - offset > 0;
  const domain = (isLog ? widenLog : widen)(low - offset, high - offset, margin);
  const scale = (isLog ? d3.scaleLog() : d3.scaleLinear()).domain(domain).range(pixels).clamp(true);
  const isWhole = values.every((value) => value === null || Number.isInteger(value));
  const at = (value) => scale(value - offset);
  at.ticks = (count) => ticksOf(domain, count, isLog).filter((tick) => !isWhole || Number.isInteger(tick)).map((tick) => ({ pixel: scale(tick), label: short(tick) }));
  at.between = (first, last) => {
    const ends = [scale.invert(first) + offset, scale.invert(last) + offset].sort((a, b) => a - b);
    return ends.map((end) => Number(end.toPrecision(5)));
  };
  at.ends = pixels; // pixels of the lowest and the highest value
  at.title = (column) => (offset > 0 ? `${column.title}, nats above the entropy floor` : titled(column));
  return at;
}

function titled(column) {
  return column.unit ? `${column.title}, ${column.unit}` : column.title;
}

function choiceScale(values, pixels, labels) {
  const choices = [...new Set(values.filter((value) => value !== null))].sort((a, b) => a - b);
  const scale = d3.scalePoint().domain(choices).range(pixels).padding(0.5);
  const at = (value) => scale(value) ?? outside(choices, value, scale);
  at.ticks = (count) => {
    const every = Math.max(1, Math.ceil(choices.length / Math.max(2, 2 * count)));
    return choices.filter((_, i) => i % every === 0).map((tick) => ({ pixel: scale(tick), label: labels[tick] ?? short(tick) }));
  };
  at.between = (first, last) => {
    // Points are spread around their choice. A range between two choices selects the nearer one.
    const reach = Math.min(SPREAD / 2, scale.step() / 2);
    const [low, high] = [Math.min(first, last) - reach, Math.max(first, last) + reach];
    const inside = choices.filter((choice) => scale(choice) >= low && scale(choice) <= high);
    if (inside.length) return [Math.min(...inside), Math.max(...inside)];
    const centre = (first + last) / 2;
    const nearest = choices.reduce((a, b) => (Math.abs(scale(a) - centre) <= Math.abs(scale(b) - centre) ? a : b));
    return [nearest, nearest];
  };
  at.ends = pixels;
  at.title = titled;
  return at;
}

// The position of a bound that is not a choice: that of the next choice.
function outside(choices, value, scale) {
  const next = choices.find((choice) => choice >= value) ?? choices.at(-1);
  return next === undefined ? scale.range()[0] : scale(next);
}

function widen(low, high, margin) {
  const room = (high - low || Math.abs(high) || 1) * margin;
  return [low - room, high + room];
}

function widenLog(low, high, margin) {
  const room = high > low ? (high / low) ** margin : 1.5;
  return [low / room, high * room];
}

// Round numbers for ticks: evenly spaced on a short logarithmic axis, else as many per decade as fit.
function ticksOf([low, high], count, isLog) {
  if (!isLog || high / low < 3) return d3.ticks(low, high, count);
  let ticks = [];
  for (const steps of [[1], [1, 3], [1, 2, 5], [1, 1.5, 2, 3, 5, 7]]) {
    const powers = d3.range(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)) + 1);
    const found = powers.flatMap((power) => steps.map((step) => Number((step * 10 ** power).toPrecision(3)))).filter((tick) => tick >= low && tick <= high);
    if (found.length > count && ticks.length > 1) break;
    ticks = found;
  }
  return ticks;
}

// Draws an axis below or to the left of a frame {left, top, right, bottom}, with rules across it.
function drawAxis(layer, scale, side, frame, { title = "", count = 5, rules = true } = {}) {
  const below = side === "bottom";
  for (const { pixel, label } of scale.ticks(count)) {
    const rule = below
      ? { x1: pixel, x2: pixel, y1: rules ? frame.top : frame.bottom - 4, y2: frame.bottom }
      : { x1: frame.left, x2: rules ? frame.right : frame.left + 4, y1: pixel, y2: pixel };
    const place = below ? { x: pixel, y: frame.bottom + 16, "text-anchor": "middle" } : { x: frame.left - 7, y: pixel + 4, "text-anchor": "end" };
    layer.append(svg("line", { class: "rule", ...rule }), svg("text", { class: "tick", ...place }, label));
  }
  if (!title) return;
  const place = below
    ? { x: (frame.left + frame.right) / 2, y: frame.bottom + 34, "text-anchor": "middle" }
    : { x: 0, y: frame.top - 9 };
  layer.append(svg("text", { class: "axis", ...place }, title));
}
