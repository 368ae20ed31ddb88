// The base class of all charts: a heading with controls, a drawing that follows the selection, marks
// that can be reached by pointer and keyboard, a table of the values, and downloads.
//
// All marks of the same look are a single path, so that a thousand trials are redrawn in a few
// milliseconds.

const MARGIN = { left: 58, right: 14, top: 26, bottom: 42 };
const REACH = 22; // largest distance in pixels between the pointer and the mark that it selects

const dots = (points) => points.map(({ x, y }) => `M${x.toFixed(1)},${y.toFixed(1)}h.01`).join("");
const crosses = (points) => points.map(({ x, y }) => `M${(x - 4).toFixed(1)},${(y - 4).toFixed(1)}l8,8m0,-8l-8,8`).join("");
const rings = (points) => points.map(({ x, y }) => `M${(x - 3.5).toFixed(1)},${y.toFixed(1)}a3.5,3.5 0 1 0 7,0a3.5,3.5 0 1 0 -7,0`).join("");

// The edge of a frame at which failed trials are drawn.
const worstEdge = (records, frame) => (records.rises ? frame.bottom : frame.top);

// The points that are lower than all points before them.
function descent(points, height) {
  let lowest = Infinity;
  return points.filter((point) => height(point) < lowest && ((lowest = height(point)), true));
}

const stairs = (points) => points.map(({ x, y }, i) => (i === 0 ? `M${x},${y}` : `H${x}V${y}`)).join("");
const through = (points) => points.map(({ x, y }, i) => `${i ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("");

// A sample of a look, for a legend.
function swatch(look) {
  const at = [{ x: 8, y: 5 }];
  const [shape] = look.split(" ");
  const path = { dot: dots, cross: crosses, ring: rings }[shape]?.(at) ?? "M0,5h16";
  return svg("svg", { class: "key", width: 16, height: 10, "aria-hidden": "true" }, svg("path", { class: look, d: path }));
}

const legendOf = (entries) => entries.map(([look, name]) => html("span", {}, swatch(look), name));

// A table with the names of the rows in the first column.
function plainTable(head, rows) {
  const cell = (text, i) => (i === 0 ? html("th", { scope: "row" }, text) : html("td", {}, text));
  return html("table", { class: "plain" },
    html("thead", {}, html("tr", {}, head.map((title) => html("th", { scope: "col" }, title)))),
    html("tbody", {}, rows.map((cells) => html("tr", {}, cells.map(cell)))));
}

class Chart {
  // host: element; settings: {name, title, note, ratio: height relative to width, least: smallest
  // width and most: largest height in pixels, controls: [{name, label, options, drops: columns to
  // clear the ranges of when the control changes}]}
  constructor(host, page, settings) {
    Object.assign(this, { host, page, records: page.records, selection: page.selection, settings });
    this.points = []; // positions of the marks: {x, y, index}
    this.build();
    this.resized = new ResizeObserver(() => this.width !== this.room() && this.layout());
    this.resized.observe(this.stage);
    this.selection.follow(() => this.wake());
  }

  build() {
    const { title, note, controls = [], name } = this.settings;
    this.controls = new Map(controls.map((control) => [control.name, this.select(control)]));
    this.layers = Object.fromEntries(["axes", "marks", "front"].map((layer) => [layer, svg("g", { class: layer, "aria-hidden": "true" })]));
    this.brush = svg("g", { class: "brush", "aria-hidden": "true" });
    this.drawing = svg(
      "svg",
      {
        class: "plot",
        tabindex: 0,
        role: "slider",
        "aria-label": `${title}. Use the arrow keys to move between trials and Enter to open one.`,
        "aria-valuemin": 1,
        "aria-valuenow": 1,
        onkeydown: (event) => this.press(event),
        onpointermove: (event) => this.point(event),
        onpointerleave: () => this.page.tip.hide(),
        onfocus: () => this.drawing.matches(":focus-visible") && this.walk(0),
        onblur: () => this.leave(),
        onclick: (event) => this.click(event),
      },
      this.layers.axes, this.brush, this.layers.marks, this.layers.front,
    );
    this.stage = html("div", { class: "stage" }, this.drawing);
    this.tableBody = html("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Table: ${title}` });
    this.twin = html("details", { class: "twin", id: `${this.page.anchor}-${name}-table`, ontoggle: () => this.tabulate() }, html("summary", {}, "Table"), this.tableBody);
    const file = fileName(this.records.name, name);
    this.legend = html("p", { class: "legend" });
    this.host.replaceChildren(
      html("figure", { class: "drawn" },
        html("div", { class: "topline" }, html("h4", {}, title), ...this.controls.values()),
        this.legend, this.stage, html("figcaption", {}, html("p", {}, note)),
        html("div", { class: "under" }, this.twin, html("span", { class: "tools" }, ...saveButtons(() => this.drawing, file, title)))),
    );
    this.host.hidden = false;
  }

  select({ name, label, options, drops = [] }) {
    const choose = ({ target }) =>
      this.selection.change((one) => {
        drops.forEach((key) => one.keepRange(key, null));
        one.keepView(name, target.value === options[0][0] ? null : target.value);
      });
    const list = html("select", { onchange: choose },
      ...options.map(([value, text]) => html("option", { value }, text)));
    return html("label", {}, html("span", {}, label), list);
  }

  // The chosen value of a control, or its first option.
  chosen(name) {
    const { options } = this.settings.controls.find((control) => control.name === name);
    const wanted = this.selection.views.get(name);
    const value = options.some(([one]) => one === wanted) ? wanted : options[0]?.[0];
    this.controls.get(name).querySelector("select").value = value;
    return value;
  }

  room() {
    return Math.max(this.settings.least ?? 260, Math.floor(this.stage.clientWidth));
  }

  layout() {
    this.width = this.room();
    this.height = this.heightFor(this.width);
    for (const [name, value] of Object.entries({ width: this.width, height: this.height, viewBox: `0 0 ${this.width} ${this.height}` })) {
      this.drawing.setAttribute(name, value);
    }
    this.frame = { left: MARGIN.left, right: this.width - MARGIN.right, top: MARGIN.top, bottom: this.height - MARGIN.bottom };
    this.update();
  }

  heightFor(width) {
    return Math.round(Math.min(this.settings.most ?? 340, Math.max(220, width * (this.settings.ratio ?? 0.62))));
  }

  // Updates the chart now if it is visible, else when it comes into view.
  wake() {
    if (this.page.isInSight(this)) this.update();
    else this.isStale = true;
  }

  update() {
    if (!this.width) return this.layout();
    this.isStale = false;
    this.points = [];
    for (const layer of Object.values(this.layers)) layer.replaceChildren();
    this.draw();
    this.emphasise();
    this.drawing.setAttribute("aria-valuemax", Math.max(1, this.stops().length));
    if (this.twin.open) this.tabulate();
  }

  // Groups points by look and draws each look as one path, the emphasised ones last.
  mark(points, look = () => "other") {
    const looks = new Map();
    for (const point of points) {
      const { index } = point;
      const shape = this.records.isFailed(index) ? "cross" : this.records.isUnfinished(index) ? "ring" : "dot";
      const seen = this.selection.has(index);
      const colour = !seen ? "faded" : shape === "cross" ? "failed" : index === this.records.winnerIndex ? "winner" : look(point);
      const key = `${shape} ${colour}`;
      if (!looks.has(key)) looks.set(key, []);
      looks.get(key).push(point);
    }
    const order = (key) => (key.endsWith("faded") ? 0 : key.endsWith("winner") ? 2 : 1);
    const shapes = { dot: dots, cross: crosses, ring: rings };
    for (const [key, some] of [...looks].sort(([a], [b]) => order(a) - order(b))) {
      this.layers.marks.append(svg("path", { class: key, d: shapes[key.split(" ")[0]](some) }));
    }
    this.points.push(...points);
  }

  line(path, look, layer = "marks") {
    this.layers[layer].append(svg("path", { class: `line ${look}`, d: path }));
  }

  // Draws a ring around the open trial, and smaller rings around the rest of its configuration.
  emphasise() {
    const { trial } = this.selection;
    if (trial === null) return;
    const open = this.records.index.get(trial);
    const family = new Set(this.records.family(open));
    for (const { x, y, index } of this.points.filter((point) => family.has(point.index))) {
      this.layers.front.append(svg("circle", { class: index === open ? "open" : "kin", cx: x, cy: y, r: index === open ? 8 : 6 }));
    }
  }

  stops() {
    const seen = new Set();
    return this.points
      .filter(({ index }) => this.selection.has(index))
      .sort((a, b) => a.x - b.x || b.y - a.y)
      .filter(({ index }) => !seen.has(index) && seen.add(index));
  }

  // Keyboard
  press(event) {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity };
    if (event.key in steps) this.walk(steps[event.key]);
    else if ((event.key === "Enter" || event.key === " ") && this.current !== undefined && this.selection.has(this.current)) this.page.open(this.current, this.drawing);
    else return;
    event.preventDefault();
  }

  walk(step) {
    const stops = this.stops();
    if (stops.length === 0) {
      this.current = undefined;
      this.drawing.setAttribute("aria-valuenow", 1);
      this.drawing.setAttribute("aria-valuetext", "no trial is selected");
      return this.leave();
    }
    const at = stops.findIndex(({ index }) => index === this.current);
    const next = Math.min(stops.length - 1, Math.max(0, at < 0 ? 0 : at + step));
    const stop = stops[next];
    this.current = stop.index;
    this.drawing.setAttribute("aria-valuenow", next + 1);
    this.drawing.setAttribute("aria-valuetext", this.records.describe(stop.index).join(", "));
    this.layers.front.querySelector(".walked")?.remove();
    this.layers.front.append(svg("circle", { class: "walked", "data-passing": true, cx: stop.x, cy: stop.y, r: 9 }));
    const box = this.drawing.getBoundingClientRect();
    this.page.tip.show(stop.index, box.left + stop.x, box.top + stop.y);
  }

  leave() {
    this.layers.front.querySelector(".walked")?.remove();
    this.page.tip.hide();
  }

  // Pointer
  nearest(event) {
    const box = this.drawing.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    let found = null;
    let least = REACH ** 2;
    for (const point of this.points) {
      const seen = this.selection.has(point.index);
      const distance = (point.x - x) ** 2 + (point.y - y) ** 2 + (seen ? 0 : 200);
      if (distance < least) [found, least] = [point, distance];
    }
    return found;
  }

  point(event) {
    const found = event.buttons === 0 ? this.nearest(event) : null;
    this.drawing.classList.toggle("pointing", found !== null);
    if (found) this.page.tip.show(found.index, event.clientX, event.clientY);
    else this.page.tip.hide();
  }

  click(event) {
    const found = this.nearest(event);
    if (found) this.openMark(found);
  }

  openMark({ index }) {
    this.current = index; // The arrow keys continue from here.
    this.page.open(index, this.drawing);
  }

  // Table
  tabulate() {
    if (!this.twin.open) return;
    const { head, rows } = this.table();
    const seen = rows.filter(({ index }) => this.selection.has(index));
    this.tableBody.replaceChildren(plainTable(head, seen.map(({ cells }) => cells)));
  }

  // Rows of all trials with the columns of these keys.
  tableOf(keys) {
    const columns = keys.map((key) => this.records.columns.get(key));
    return {
      head: ["Trial", "Status", ...columns.map((column) => column.title)],
      rows: this.records.all.map((index) => ({
        index,
        cells: [this.records.trials[index], this.records.status(index), ...columns.map((column) => textOf(column, column.values[index]))],
      })),
    };
  }

  // Shows the legend. Each entry is [look, name].
  explain(entries) {
    if (this.settings.legend !== false) this.legend.replaceChildren(...legendOf(entries));
  }

  usualLooks() {
    const { records } = this;
    return [
      records.winnerIndex !== null && ["dot winner", "winner"],
      ["dot other", "completed"],
      records.all.some((index) => records.isFailed(index)) && ["cross failed", "failed"],
      records.all.some((index) => records.isUnfinished(index)) && ["ring other", "unfinished"],
    ].filter(Boolean);
  }
}
