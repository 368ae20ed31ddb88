// A chart with a point for each trial over two columns. Dragging selects a rectangle.

class Scatter extends Chart {
  // Further settings: {x, y: column keys, or functions that return them, shade: look of a point,
  // front: true to draw the Pareto front, across: false to leave out the title of the lower axis}
  constructor(host, page, settings) {
    super(host, page, { note: "", ...settings });
  }

  column(axis) {
    const wanted = this.settings[axis];
    return this.records.columns.get(typeof wanted === "function" ? wanted(this) : wanted);
  }

  scale(column, pixels, others = []) {
    const { values, scale, labels } = column;
    return makeScale({ values: [...values, ...others], kind: scale, labels, floor: this.records.floor, pixels });
  }

  draw() {
    const { frame, records } = this;
    const [across, up] = [this.column("x"), this.column("y")];
    const reference = this.referencePoint(across, up);
    this.x = this.scale(across, [frame.left, frame.right], reference ? [reference[0]] : []);
    this.y = this.scale(up, [frame.bottom, frame.top], reference ? [reference[1]] : []);
    const [columns, rows] = [(frame.right - frame.left) / 70, (frame.bottom - frame.top) / 45];
    drawAxis(this.layers.axes, this.x, "bottom", frame, { title: this.settings.across === false ? "" : this.x.title(across), count: columns });
    drawAxis(this.layers.axes, this.y, "left", frame, { title: this.y.title(up), count: rows });
    this.shown = records.all
      .filter((index) => across.values[index] !== null)
      .map((index) => ({ index, x: this.x(across.values[index]), y: up.values[index] === null ? (up === records.goal ? worstEdge(records, frame) : frame.top) : this.y(up.values[index]) }))
      .filter(({ index }) => up.values[index] !== null || records.isFailed(index));
    // The points of a choice are spread, so that they do not cover each other.
    if (across.scale === "choice") this.shown.forEach((point) => (point.x += spread(point.index, this.width / 30)));
    this.under(across, up);
    this.mark(this.shown, this.settings.shade);
    if (reference) this.drawReference(this.x(reference[0]), this.y(reference[1]));
    this.showBrush(across, up);
    this.explainLooks();
  }

  // Draws lines below the points: the Pareto front of the selected trials.
  under(across, up) {
    if (!this.settings.front) return;
    const chosen = this.shown.filter(({ index }) => this.selection.has(index) && this.records.statuses[index] === "completed");
    const height = ({ index }) => (up === this.records.goal ? this.records.cost(up.values[index]) : up.values[index]);
    const sorted = chosen.sort((a, b) => across.values[a.index] - across.values[b.index] || height(a) - height(b));
    const front = descent(sorted, height);
    if (front.length > 1) this.line(stairs(front), "front");
  }

  referencePoint(across, up) {
    const { reference } = this.records;
    const point = reference && [reference[across.key], reference[up.key]];
    return point && point.every((value) => value !== null && value !== undefined) ? point : null;
  }

  drawReference(x, y) {
    this.layers.marks.append(svg("rect", { class: "reference", x: x - 4.5, y: y - 4.5, width: 9, height: 9 }));
  }

  explainLooks() {
    const reference = this.referencePoint(this.column("x"), this.column("y"));
    this.explain([
      ...this.usualLooks(),
      ...(reference ? [["line reference", this.records.reference.name]] : []),
      ...(this.settings.front ? [["line front", "Pareto front"]] : []),
    ]);
  }

  showBrush(across, up) {
    const { frame } = this;
    if (!this.brushing) {
      this.brushing = d3.brush().touchable(false).on("start brush end", (event) => this.brushed(event));
    }
    this.brushing.extent([[frame.left, frame.top], [frame.right, frame.bottom]]);
    const group = d3.select(this.brush);
    const size = `${this.width},${this.height}`;
    if (this.brushSize !== size) {
      group.call(this.brushing);
      this.brushSize = size;
    }
    if (this.isBrushing) return;
    const ranges = [across, up].map((column) => this.selection.ranges.get(column.key));
    const frames = [[frame.left, frame.right], [frame.top, frame.bottom]];
    const ends = [this.x, this.y].map((scale, i) => (ranges[i] ? pixelsOf(scale, ranges[i], frames[i]) : frames[i]));
    this.placed = ranges.some(Boolean) ? ends : null;
    group.call(this.brushing.move, this.placed && [0, 1].map((end) => [ends[0][end], ends[1][end]]));
  }

  brushed({ type, selection, sourceEvent }) {
    if (!sourceEvent) return; // The page moved the brush, not the user.
    this.isBrushing = type !== "end";
    this.page.tip.hide();
    if (type === "start") {
      this.pressed = [sourceEvent.clientX, sourceEvent.clientY];
      this.held = this.placed;
      return;
    }
    const keys = [this.column("x").key, this.column("y").key];
    if (hasMoved(this.pressed, sourceEvent)) {
      if (selection !== null) this.limit(keys, this.rangesIn(selection, keys));
    } else if (type === "end") {
      // A click opens a trial, or clears the rectangle if there is no trial.
      const found = this.nearest(sourceEvent);
      if (found) this.openMark(found);
      if (found || selection !== null) this.update();
      else this.limit(keys, [null, null]);
    }
  }

  // A range for each axis: unchanged if its sides did not move, open if they reach the frame.
  rangesIn([[left, top], [right, bottom]], keys) {
    const { frame } = this;
    const sides = [[left, right, this.x, frame.left, frame.right], [top, bottom, this.y, frame.top, frame.bottom]];
    return sides.map(([first, last, scale, start, end], i) => {
      const held = this.held?.[i];
      const isSame = held && Math.abs(held[0] - first) < 0.5 && Math.abs(held[1] - last) < 0.5;
      if (isSame) return this.selection.ranges.get(keys[i]) ?? null;
      return rangeBetween(scale, first, last, start, end);
    });
  }

  limit(keys, ranges) {
    this.selection.change((chosen) => keys.forEach((key, i) => chosen.keepRange(key, ranges[i])));
  }

  table() {
    const keys = [this.column("x").key, this.column("y").key];
    return this.tableOf([...new Set([...keys, this.records.goal.key, "epochs"])]);
  }
}

const hasMoved = ([x, y], event) => Math.hypot(event.clientX - x, event.clientY - y) >= 3;

// The pixels of a range within a frame. A range that is too narrow to drag is widened.
function pixelsOf(scale, range, [start, end]) {
  const clip = (pixel) => Math.max(Math.min(start, end), Math.min(Math.max(start, end), pixel));
  const [low, high] = range.map((value, i) => (Number.isFinite(value) ? scale(value) : scale.ends[i])).sort((a, b) => a - b);
  const room = Math.max(0, 4 - (high - low) / 2);
  return [clip(low - room), clip(high + room)];
}

// The range between two pixels: open at an end of the axis that is reached, null if both are reached.
function rangeBetween(scale, first, last, start, end) {
  const isOpen = [Math.abs(first - Math.min(start, end)) < 1, Math.abs(last - Math.max(start, end)) < 1];
  if (isOpen[0] && isOpen[1]) return null;
  const [low, high] = scale.between(first, last);
  const isRising = scale.ends[0] <= scale.ends[1];
  const [isLowOpen, isHighOpen] = isRising ? isOpen : [...isOpen].reverse();
  return [isLowOpen ? -Infinity : low, isHighOpen ? Infinity : high];
}
