// Charts of the search over time: best value so far, learning curves, brackets, timeline.

const BY_TIME = [["time", "working time"], ["epochs", "epochs trained"]];

class Progress extends Scatter {
  constructor(host, page) {
    const { goal, goalName, rises } = page.records;
    const best = `${rises ? "best" : "lowest"} ${goalName}`;
    super(host, page, {
      name: "progress",
      title: `${best[0].toUpperCase()}${best.slice(1)} so far`,
      note: `Each point is a trial at its ${best}. The line is the ${best} so far of the selected completed trials. Breaks between sessions are excluded.`,
      controls: [{ name: "progress", label: "Against", options: BY_TIME, drops: ["best_s", "best_after"] }],
      x: (chart) => (chart.chosen("progress") === "epochs" ? "best_after" : "best_s"),
      y: goal.key,
    });
  }

  under(across) {
    const { frame, records } = this;
    const { seconds, after } = records.curves;
    const at = across.key === "best_after" ? after : seconds;
    const epochs = records.all
      .filter((index) => this.selection.has(index) && records.statuses[index] === "completed")
      .flatMap((index) => records.goalCurves[index].map((value, row) => ({ at: at[index][row], value })))
      .filter(({ value }) => value !== null)
      .sort((a, b) => a.at - b.at);
    const steps = descent(epochs, ({ value }) => records.cost(value)).map((step) => ({ x: this.x(step.at), y: this.y(step.value) }));
    if (steps.length) this.line(`${stairs(steps)}H${frame.right}`, "winner");
    if (records.reference) this.line(`M${frame.left},${this.y(records.reference[records.goal.key])}H${frame.right}`, "reference");
  }

  scale(column, pixels, others) {
    const { goal, reference: example } = this.records;
    const reference = column === goal && example ? [example[goal.key]] : [];
    return super.scale(column, pixels, [...others, ...reference]);
  }

  explainLooks() {
    const reference = this.records.reference ? [["line reference", this.records.reference.name]] : [];
    this.explain([["line winner", `${this.records.rises ? "best" : "lowest"} so far`], ...this.usualLooks(), ...reference]);
  }
}

class Curves extends Chart {
  constructor(host, page) {
    super(host, page, {
      name: "curves",
      title: "Learning curves",
      note: `${page.records.rises ? page.records.goal.title : "Validation loss"} of every trial against epochs.${page.records.continues ? " A trial that continues another starts where that one stopped." : ""}`,
    });
  }

  draw() {
    const { frame, records, layers } = this;
    const { reference, curves } = records;
    const example = reference && (reference.objectives ?? reference.val);
    const values = [...records.goalCurves.flat(), ...(example ?? [])];
    const last = Math.max(2, ...curves.epochs.map((epochs) => epochs.at(-1) ?? 0), ...(reference?.epochs ?? []));
    const x = makeScale({ values: [1, last], kind: "linear", pixels: [frame.left, frame.right], margin: 0.02 });
    this.y = makeScale({ values, kind: records.goal.scale, floor: records.floor, pixels: [frame.bottom, frame.top] });
    const whole = Math.min(last, (frame.right - frame.left) / 50);
    drawAxis(layers.axes, x, "bottom", frame, { title: "epoch", count: whole });
    drawAxis(layers.axes, this.y, "left", frame, { title: this.y.title(records.goal), count: 6 });
    const paths = { faded: [], other: [], winner: [], open: [] };
    const family = new Set(this.selection.trial === null ? [] : records.family(records.index.get(this.selection.trial)));
    for (const index of records.all) {
      const path = this.pathOf(index, x);
      const look = family.has(index) ? "open" : !this.selection.has(index) ? "faded" : records.winners.has(index) ? "winner" : "other";
      paths[look].push(path);
    }
    for (const look of ["faded", "other"]) this.line(paths[look].join(""), look);
    if (reference) this.line(this.polyline(reference.epochs, example, x), "reference");
    for (const look of ["winner", "open"]) this.line(paths[look].join(""), look);
    this.mark(records.all.map((index) => ({ index, ...this.endOf(index, x) })));
    this.explain([["line winner", "winner"], ["line other", "others"], ...(reference ? [["line reference", reference.name]] : []),
      ...this.usualLooks().filter(([look]) => look.includes("failed"))]);
  }

  // The path of a trial, from its parent's last point.
  pathOf(index, x) {
    const { curves, goalCurves, parent } = this.records;
    const before = parent[index] === null ? [] : [parent[index]];
    const epochs = [...before.map((at) => curves.epochs[at].at(-1)), ...curves.epochs[index]];
    const values = [...before.map((at) => goalCurves[at].at(-1)), ...goalCurves[index]];
    return this.polyline(epochs, values, x);
  }

  polyline(epochs, values, x) {
    let path = "";
    let pen = "M";
    epochs.forEach((epoch, i) => {
      if (values[i] === null || values[i] === undefined) return void (pen = "M");
      path += `${pen}${x(epoch).toFixed(1)},${this.y(values[i]).toFixed(1)}`;
      pen = "L";
    });
    return path;
  }

  endOf(index, x) {
    const epochs = this.records.curves.epochs[index];
    const values = this.records.goalCurves[index];
    const at = values.findLastIndex((value) => value !== null);
    if (at >= 0) return { x: x(epochs[at]), y: this.y(values[at]) };
    return { x: x(this.records.value("epoch_from", index) + 1), y: worstEdge(this.records, this.frame) };
  }

  table() {
    const { records } = this;
    const last = Math.max(0, ...records.curves.epochs.map((epochs) => epochs.at(-1) ?? 0));
    const epochs = Array.from({ length: last }, (_, i) => i + 1);
    return {
      head: ["Trial", ...epochs.map((epoch) => `Epoch ${epoch}`)],
      rows: records.all.map((index) => {
        const values = new Map(records.curve(index).map(({ epoch, goal }) => [epoch, goal]));
        return { index, cells: [records.trials[index], ...epochs.map((epoch) => records.goalText(values.get(epoch)))] };
      }),
    };
  }
}

function bracketsOf(records) {
  const found = new Map();
  for (const index of records.all) {
    const [iteration, bracket] = [records.value("iteration", index), records.value("bracket", index)];
    const key = `${iteration} ${bracket}`;
    if (!found.has(key)) found.set(key, { iteration, bracket, members: [] });
    found.get(key).members.push(index);
  }
  return [...found.values()].sort((a, b) => a.iteration - b.iteration || b.bracket - a.bracket);
}

class Rungs extends Chart {
  constructor(host, page) {
    super(host, page, {
      name: "rungs",
      title: bracketsOf(page.records).length > 1 ? "Brackets and rungs" : "Trials and their continuations",
      note: "Each point is a trial after its last epoch. A line leads to the trial that continues it. A cross is a failed trial.",
    });
  }

  heightFor(width) {
    const columns = this.columnsIn(width);
    return Math.ceil(bracketsOf(this.records).length / columns) * 270;
  }

  columnsIn(width) {
    return Math.max(1, Math.min(bracketsOf(this.records).length, Math.floor(width / 230)));
  }

  draw() {
    const { records, layers } = this;
    const brackets = bracketsOf(records);
    const columns = this.columnsIn(this.width);
    const severalIterations = new Set(brackets.map(({ iteration }) => iteration)).size > 1;
    brackets.forEach((bracket, at) => {
      const width = this.width / columns;
      const [left, top] = [(at % columns) * width, Math.floor(at / columns) * 270];
      const frame = { left: left + MARGIN.left, right: left + width - 10, top: top + 42, bottom: top + 270 - 44 };
      const name = `bracket ${bracket.bracket}${severalIterations ? `, iteration ${bracket.iteration + 1}` : ""}`;
      if (brackets.length > 1) layers.axes.append(svg("text", { class: "bracket", x: left + MARGIN.left, y: top + 14 }, name));
      this.drawBracket(bracket.members, frame);
    });
    this.explain(this.usualLooks());
  }

  drawBracket(members, frame) {
    const { records, layers } = this;
    const { goal } = records;
    const x = makeScale({ values: members.map((index) => records.value("epochs", index)), kind: "choice", pixels: [frame.left, frame.right] });
    const y = makeScale({ values: goal.values, kind: goal.scale, floor: records.floor, pixels: [frame.bottom, frame.top] });
    drawAxis(layers.axes, x, "bottom", frame, { title: "epochs" });
    drawAxis(layers.axes, y, "left", frame, { title: frame.left < MARGIN.left + 1 ? y.title(goal) : "", count: 5 });
    const place = new Map(members.map((index) => [index, { index, x: x(records.value("epochs", index)), y: goal.values[index] === null ? worstEdge(records, frame) : y(goal.values[index]) }]));
    const paths = { faded: "", other: "", winner: "" };
    for (const [index, { x: endX, y: endY }] of place) {
      const from = place.get(records.parent[index]);
      if (!from) continue;
      const look = !this.selection.has(index) ? "faded" : records.winners.has(index) ? "winner" : "other";
      paths[look] += `M${from.x},${from.y}L${endX},${endY}`;
    }
    for (const [look, path] of Object.entries(paths)) this.line(path, look);
    this.mark([...place.values()]);
  }

  table() {
    return this.tableOf(["iteration", "bracket", "rung", "epochs", this.records.goal.key]);
  }
}

const NO_BREAKS = "Breaks between sessions are excluded.";
const ONE_PROCESS = `Each bar is a trial. Trials that ran at the same time are in separate lanes. ${NO_BREAKS} Gaps are other work, such as training the Keras example.`;
const WORKERS = `Each lane is a worker; the replacement of a lost worker uses the same lane. Each bar is a period in which the worker trained a trial. ${NO_BREAKS} Gaps are times in which the worker had nothing to train.`;

// Largest and smallest height of a lane, and largest height of all lanes together, in pixels.
const LANE = { most: 34, least: 9, together: 420 };

class Timeline extends Chart {
  constructor(host, page) {
    const { workers } = page.records;
    super(host, page, {
      name: "timeline",
      title: "Timeline",
      note: workers ? `${workers.note} ${WORKERS}`.trim() : ONE_PROCESS,
    });
  }

  get workers() {
    return this.records.workers;
  }

  get lanes() {
    return this.workers?.lanes ?? Array.from({ length: Math.max(1, ...this.records.columns.get("lane").values) }, (_, lane) => ({ label: String(lane + 1) }));
  }

  get step() {
    return Math.max(LANE.least, Math.min(LANE.most, Math.floor(LANE.together / this.lanes.length)));
  }

  heightFor() {
    return MARGIN.top + MARGIN.bottom + this.lanes.length * this.step;
  }

  // The periods in which trials were trained: {index, lane, from, to, place}.
  spans() {
    const { records } = this;
    if (this.workers) {
      const { trials, lanes, start_s: starts, end_s: ends, places } = this.workers.bars;
      return trials.map((index, i) => ({ index, lane: lanes[i], from: starts[i], to: ends[i], place: places[i] }));
    }
    return records.all.map((index) => ({
      index, lane: records.value("lane", index) - 1, from: records.value("start_s", index), to: records.value("end_s", index),
    }));
  }

  draw() {
    const { frame, layers } = this;
    const spans = this.spans();
    this.x = makeScale({ values: [0, ...spans.map(({ to }) => to)], kind: "linear", pixels: [frame.left, frame.right], margin: 0 });
    drawAxis(layers.axes, this.x, "bottom", frame, { title: "seconds of working time", count: (frame.right - frame.left) / 70 });
    this.nameLanes();
    const bars = spans.map((span) => ({ ...span, ...this.barOf(span) }));
    const looks = { faded: "", other: "", running: "", failed: "", winner: "" };
    for (const bar of bars) looks[this.lookOf(bar.index)] += this.pathOf(bar);
    looks.reference = (this.workers?.reference_bars ?? []).map((one) => this.pathOf(this.barOf({ lane: one.lane, from: one.start_s, to: one.end_s }))).join("");
    for (const [look, path] of Object.entries(looks)) if (path) layers.marks.append(svg("path", { class: `bars ${look}`, d: path }));
    this.points = bars;
    this.markLostWorkers();
    this.explainLooks(looks);
  }

  barOf({ lane, from, to }) {
    const inset = Math.max(1, Math.floor(0.18 * this.step));
    const top = this.frame.top + lane * this.step + inset;
    const height = this.step - 2 * inset;
    const [left, right] = [this.x(from), this.x(to)];
    return { left, top, height, width: Math.max(1, right - left - 1), x: (left + right) / 2, y: top + height / 2 };
  }

  pathOf({ left, top, height, width }) {
    return `M${left.toFixed(1)},${top}h${width.toFixed(1)}v${height}h${-width.toFixed(1)}z`;
  }

  // Names all lanes, or only some of them if they are thin.
  nameLanes() {
    const { frame, layers, lanes, step } = this;
    const every = Math.ceil(13 / step);
    layers.axes.append(svg("text", { class: "axis", x: 0, y: frame.top - 9 }, this.workers ? "worker" : "lane"));
    lanes.forEach(({ label, title }, lane) => {
      if (lane % every) return;
      const name = svg("text", { class: "tick", x: frame.left - 7, y: frame.top + (lane + 0.5) * step + 4, "text-anchor": "end" }, label);
      if (title) name.append(svg("title", {}, title));
      layers.axes.append(name);
    });
  }

  markLostWorkers() {
    const half = Math.min(4, this.step / 2 - 1);
    for (const { lane, at_s: at, title } of this.workers?.lost_workers ?? []) {
      const [x, y] = [this.x(at), this.frame.top + (lane + 0.5) * this.step];
      const cross = `M${(x - half).toFixed(1)},${(y - half).toFixed(1)}l${2 * half},${2 * half}m0,${-2 * half}l${-2 * half},${2 * half}`;
      this.layers.marks.append(svg("g", { class: "loss" }, svg("title", {}, title), svg("path", { class: "edge", d: cross }), svg("path", { class: "cross failed", d: cross })));
    }
  }

  explainLooks(looks) {
    const { workers } = this;
    this.explain([["line winner", "winner"], ["line other", "completed"],
      ...(looks.failed ? [["line failed", "failed"]] : []), ...(looks.running ? [["line running", "unfinished"]] : []),
      ...(looks.reference ? [["line reference", this.records.reference?.name ?? "Keras example"]] : []), ...(workers?.lost_workers.length ? [["cross failed", "worker lost"]] : [])]);
    for (const kind of workers?.kinds ?? []) this.legend.append(html("span", {}, kind));
  }

  lookOf(index) {
    const { records } = this;
    if (!this.selection.has(index)) return "faded";
    if (index === records.winnerIndex) return "winner";
    return records.isFailed(index) ? "failed" : records.isUnfinished(index) ? "running" : "other";
  }

  // The bar under the pointer, or the nearest one.
  nearest(event) {
    const box = this.drawing.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const isOn = ({ left, top, width, height }) => x >= left - 1 && x <= left + width + 1 && y >= top - 1 && y <= top + height + 1;
    return this.points.find(isOn) ?? super.nearest(event);
  }

  table() {
    if (!this.workers) return this.tableOf(["lane", "start_s", "end_s", "seconds"]);
    const { records } = this;
    const { lanes, places } = this.workers;
    return {
      head: ["Trial", "Status", "Worker", "Device", "Started", "Ended", "Seconds"],
      rows: this.spans().map(({ index, lane, from, to, place }) => ({
        index,
        cells: [records.trials[index], records.status(index), lanes[lane].label, places[place] ?? NOTHING, short(from), short(to), short(to - from)],
      })),
    };
  }
}
