// Parallel coordinates: a line for each trial across its hyperparameters and its loss. Dragging along
// an axis selects the trials that pass there.

const LEAST_STEP = 74; // smallest distance in pixels between two axes

class Parallel extends Chart {
  constructor(host, page) {
    const unequal = page.records.columns.get("epochs").differs ? " Trials have different numbers of epochs: select one number on that axis for a fair comparison." : "";
    super(host, page, {
      name: "parallel",
      title: "Parallel coordinates",
      note: `Each line is a trial; a stronger colour means a better rank. Drag along an axis to select the trials that pass there, and click next to the selected range to clear it. The filters do the same.${unequal}`,
      ratio: 0.4,
      most: 400,
      least: 560,
    });
    this.brushes = new Map();
  }

  axes() {
    const { records } = this;
    const last = [records.columns.get("epochs"), records.goal].filter((column) => column.differs || column === records.goal);
    return [...records.differing, ...last];
  }

  // Many axes need a chart that is wider than the page, and that scrolls.
  room() {
    return Math.max(super.room(), this.axes().length * LEAST_STEP);
  }

  draw() {
    const { records, layers } = this;
    const axes = this.axes();
    const isPartial = (column) => column.kind === "hyperparameter" && column.values.includes(null);
    const [top, bottom] = [axes.some(isPartial) ? 64 : 54, this.height - 14];
    const place = d3.scalePoint().domain(axes.map((column) => column.key)).range([52, this.width - 62]);
    this.scales = new Map(axes.map((column) => [column.key,
      makeScale({ values: column.values, kind: column.scale, labels: column.labels, floor: records.floor, pixels: [bottom, top] })]));
    const looks = new Map();
    this.points = [];
    for (const index of records.all) {
      const corners = axes.map((column) => {
        const value = column.values[index];
        return { x: place(column.key), y: value === null ? top - 12 : this.scales.get(column.key)(value) };
      });
      const shade = records.quantiles[index];
      const look = !this.selection.has(index) ? "faded" : records.isFailed(index) ? "failed" : shade === null ? "other" : `shade-${shade}`;
      const path = through(corners);
      looks.set(look, (looks.get(look) ?? "") + path);
      this.points.push({ index, ...corners.at(-1) });
      corners.slice(0, -1).forEach((corner) => this.points.push({ index, ...corner }));
    }
    const order = ["faded", "other", ...Array.from({ length: SHADES }, (_, i) => `shade-${SHADES - 1 - i}`), "failed"];
    for (const look of order) if (looks.has(look)) this.line(looks.get(look), `across ${look}`);
    axes.forEach((column, i) => {
      const x = place(column.key);
      const scale = this.scales.get(column.key);
      const lifted = i % 2 === 1 && this.width / axes.length < 130;
      layers.axes.append(svg("text", { class: "axis", x, y: lifted ? 14 : 32, "text-anchor": "middle" }, column.key === "loss" && records.floor !== null ? "loss above floor" : column.title));
      layers.front.append(svg("line", { class: "pole", x1: x, x2: x, y1: top, y2: bottom }));
      for (const { pixel, label } of scale.ticks(6)) {
        layers.front.append(svg("text", { class: "tick halo", x: x + 6, y: pixel + 4 }, label));
      }
      if (isPartial(column)) {
        layers.front.append(svg("text", { class: "tick halo", x: x + 6, y: top - 8 }, NOT_USED));
      }
      this.showBrush(column, x, top, bottom);
    });
    const { trial } = this.selection;
    if (trial !== null) {
      const index = records.index.get(trial);
      const corners = this.points.filter((point) => point.index === index).sort((a, b) => a.x - b.x);
      this.line(through(corners), "open", "front");
    }
    this.explain([...this.shades(),
      ...(records.all.some((index) => records.isFailed(index)) ? [["line failed", "failed"]] : [])]);
  }

  // Entries of the legend for the best and the worst trials. With few trials, each shade is one trial.
  shades() {
    const ranked = this.records.quantiles.filter((shade) => shade !== null);
    if (ranked.length < 2) return ranked.map((shade) => [`line shade-${shade}`, "the only ranked trial"]);
    const part = ranked.length > SHADES ? "seventh" : "trial";
    return [["line shade-0", `best ${part}`], [`line shade-${Math.max(...ranked)}`, `worst ${part}`]];
  }

  emphasise() {}

  showBrush(column, x, top, bottom) {
    const { key } = column;
    if (!this.brushes.has(key)) {
      const group = svg("g", {});
      this.brush.append(group);
      const brushing = d3.brushY().touchable(false).on("start brush end", (event) => this.brushed(key, event));
      this.brushes.set(key, { group: d3.select(group), brushing, at: "" });
    }
    const held = this.brushes.get(key);
    if (held.at !== `${x} ${top} ${bottom}`) {
      held.brushing.extent([[x - 12, top - 6], [x + 12, bottom + 6]]);
      held.group.call(held.brushing);
      held.at = `${x} ${top} ${bottom}`;
    }
    if (this.dragged === key) return;
    const range = this.selection.ranges.get(key);
    held.placed = range ? pixelsOf(this.scales.get(key), range, [top, bottom]) : null;
    held.group.call(held.brushing.move, held.placed);
  }

  brushed(key, { type, selection, sourceEvent }) {
    if (!sourceEvent) return;
    this.dragged = type === "end" ? null : key;
    this.page.tip.hide();
    if (type === "start") {
      this.pressed = [sourceEvent.clientX, sourceEvent.clientY];
      return;
    }
    if (hasMoved(this.pressed, sourceEvent)) {
      const scale = this.scales.get(key);
      if (selection !== null) this.selection.setRange(key, rangeBetween(scale, ...selection, ...scale.ends));
    } else if (type === "end") {
      // A click on the range changes nothing, and a click next to it clears it. Without a range, a
      // click opens a trial.
      const found = this.brushes.get(key).placed ? null : this.nearest(sourceEvent);
      if (found) this.openMark(found);
      if (found || selection !== null) this.update();
      else this.selection.setRange(key, null);
    }
  }

  table() {
    return this.tableOf(this.axes().map((column) => column.key));
  }
}
