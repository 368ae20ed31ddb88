// A point a trial, over two columns: trade-offs, slices, best so far. Dragging selects a rectangle.

class Scatter extends Chart {
  // settings: {x, y: column keys or functions of the chart that give them, front, shade, reference}
  constructor(host, page, settings) {
    super(host, page, { note: "", ...settings });
  }

  column(axis) {
    const wanted = this.settings[axis];
    return this.records.columns.get(typeof wanted === "function" ? wanted(this) : wanted);
  }

  scale(column, pixels, others = []) {
    const { values, scale } = column;
    return makeScale({ values: [...values, ...others], kind: scale, floor: this.records.floor, pixels });
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
      .map((index) => ({ index, x: this.x(across.values[index]), y: up.values[index] === null ? frame.top : this.y(up.values[index]) }))
      .filter(({ index }) => up.values[index] !== null || records.isFailed(index));
    if (across.scale === "choice") this.spread(this.shown);
    this.under(across, up);
    this.mark(this.shown, this.settings.shade ? (point) => this.settings.shade(point, this) : undefined);
    if (reference) this.drawReference(this.x(reference[0]), this.y(reference[1]));
    this.showBrush(across, up);
    this.legendOf();
  }

  // Points on a choice stand side by side, not on top of each other.
  spread(points) {
    points.forEach((point) => (point.x += (((point.index * 0.618) % 1) - 0.5) * Math.min(24, this.width / 30)));
  }

  // Lines below the points: the Pareto front of the selected trials.
  under(across, up) {
    if (!this.settings.front) return;
    const chosen = this.shown.filter(({ index }) => this.selection.has(index) && this.records.statuses[index] === "completed");
    const sorted = chosen.sort((a, b) => across.values[a.index] - across.values[b.index] || up.values[a.index] - up.values[b.index]);
    let lowest = Infinity;
    const front = sorted.filter(({ index }) => up.values[index] < lowest && ((lowest = up.values[index]), true));
    if (front.length > 1) this.line(front.map(({ x, y }, i) => (i === 0 ? `M${x},${y}` : `H${x}V${y}`)).join(""), "front");
  }

  referencePoint(across, up) {
    const { reference } = this.records;
    const point = reference && [reference[across.key], reference[up.key]];
    return point && point.every((value) => value !== null && value !== undefined) ? point : null;
  }

  drawReference(x, y) {
    this.layers.marks.append(svg("rect", { class: "reference", x: x - 4.5, y: y - 4.5, width: 9, height: 9 }));
  }

  legendOf() {
    const reference = this.referencePoint(this.column("x"), this.column("y"));
    this.explain([
      ...this.usualLooks(),
      ...(reference ? [["line reference", "Keras example"]] : []),
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
    const [overX, overY] = [across, up].map((column) => this.selection.ranges.get(column.key));
    const left = overX ? pixelsOf(this.x, overX) : [frame.left, frame.right];
    const down = overY ? pixelsOf(this.y, overY) : [frame.top, frame.bottom];
    group.call(this.brushing.move, overX || overY ? [[left[0], down[0]], [left[1], down[1]]] : null);
  }

  brushed({ type, selection, sourceEvent }) {
    if (!sourceEvent) return; // moved by us
    this.isBrushing = type !== "end";
    if (type === "start") return;
    this.page.tip.hide();
    const keys = [this.column("x").key, this.column("y").key];
    if (selection === null) {
      // A press that did not move: a trial there is opened, else the rectangle goes.
      if (type === "end" && !this.nearest(sourceEvent)) this.limit(keys, [null, null]);
      return;
    }
    this.wasBrushed = true;
    const [[left, top], [right, bottom]] = selection;
    this.limit(keys, [this.x.between(left, right), this.y.between(top, bottom)]);
  }

  limit(keys, ranges) {
    this.selection.change((chosen) => keys.forEach((key, i) => (ranges[i] === null ? chosen.ranges.delete(key) : chosen.ranges.set(key, ranges[i]))));
  }

  table() {
    const keys = [this.column("x").key, this.column("y").key];
    return this.tableOf([...new Set([...keys, "loss", "epochs"])]);
  }
}

const pixelsOf = (scale, [low, high]) => [scale(low), scale(high)].sort((a, b) => a - b).map((pixel, i) => pixel + (i ? 1 : -1) * 4);
