// Charts of the loss, or of another objective, over each hyperparameter and over pairs of hyperparameters.

// Builds a small chart for each hyperparameter that differs. Darker points were trained for longer.
function buildSlices(host, page) {
  const { records } = page;
  const budgets = [...new Set(records.columns.get("epochs").values)].sort((a, b) => a - b);
  const shade = ({ index }) => {
    const place = budgets.indexOf(records.value("epochs", index)) / Math.max(1, budgets.length - 1);
    return `shade-${Math.round((1 - place) * (SHADES - 1))}`;
  };
  const charts = records.differing.map((column) => {
    const place = html("div", {});
    host.append(place);
    return [place, column];
  });
  const longer = budgets.length > 1 ? ` A stronger colour means more epochs (${budgets.join(", ")}).` : "";
  host.before(html("h4", { class: "block" }, `${records.goal.title} over each hyperparameter`), html("p", { class: "note" }, `Each point is a trial.${longer} The largest point is the winner; red crosses are failed trials.${usage(records.differing)}`));
  return charts.map(([place, column]) =>
    new Scatter(place, page, {
      name: `slice-${column.key}`,
      title: column.title,
      note: "",
      legend: false,
      x: column.key,
      y: records.goal.key,
      shade,
      across: false,
      ratio: 0.8,
      most: 280,
    }),
  );
}

// A sentence about trials that a chart leaves out, or an empty text.
function usage(columns) {
  const isPartial = columns.some((column) => column.values.includes(null));
  return isPartial ? " Trials that do not use a hyperparameter are not in its chart." : "";
}

const GRID = 40;
const NEAR = 0.12; // standard deviation of the Gaussian weights, relative to the side of the frame
const LEAST_WEIGHT = 0.15; // smallest sum of weights at which the surface is drawn

// The loss over two hyperparameters after the same number of epochs, as points on a smooth surface.
class Contour extends Chart {
  constructor(host, page) {
    const { numeric } = page.records; // A surface over a category would have no meaning.
    const pairs = numeric.flatMap((a, i) => numeric.slice(i + 1).map((b) => [`${a.key},${b.key}`, `${a.title} and ${b.title}`]));
    super(host, page, {
      name: "contour",
      title: `${page.records.goal.title} over two hyperparameters`,
      note: "",
      controls: [
        { name: "pair", label: "Pair", options: pairs },
        { name: "after", label: "At", options: equalEpochs(page.records) },
      ],
      ratio: 0.75,
      most: 420,
    });
    this.noteLine = this.host.querySelector("figcaption p");
  }

  draw() {
    const { frame, records, layers } = this;
    const [across, up] = this.chosen("pair").split(",").map((key) => records.columns.get(key));
    const after = Number(this.chosen("after"));
    const x = makeScale({ values: across.values, kind: across.scale, pixels: [frame.left, frame.right] });
    const y = makeScale({ values: up.values, kind: up.scale, pixels: [frame.bottom, frame.top] });
    const shift = (column, index, room) => (column.scale === "choice" ? spread(index, room) : 0);
    const using = bestAfter(records, after).filter(({ index }) => across.values[index] !== null && up.values[index] !== null);
    const measured = using.map(({ index, best }) => ({
      index, best, x: x(across.values[index]) + shift(across, index, this.width / 30), y: y(up.values[index]) + shift(up, index * 7, this.height / 20),
    }));
    this.measured = measured;
    const chosen = measured.filter(({ index }) => records.family(index).some((one) => this.selection.has(one)));
    const bands = this.surface(chosen, frame);
    drawAxis(layers.axes, x, "bottom", frame, { title: x.title(across), count: (frame.right - frame.left) / 70, rules: false });
    drawAxis(layers.axes, y, "left", frame, { title: y.title(up), rules: false });
    const winners = new Set(records.winnerIndex === null ? [] : records.family(records.winnerIndex));
    layers.marks.append(svg("path", { class: "dot rim", d: dots(measured) }));
    this.mark(measured, ({ index }) => (winners.has(index) ? "winner" : "measured"));
    this.noteLine.textContent =
      `${records.rises ? `Best ${records.goalName}` : "Lowest losses"} of ${chosen.length} configurations up to epoch ${after}. ` +
      `The surface is their average${this.floor === null ? "" : " on the logarithmic scale above the entropy floor"}, weighted by distance. It is not drawn far from all points.` + usage([across, up]);
    this.explain([["dot measured", "configuration"], ...(winners.size ? [["dot winner", "winner"]] : []),
      ...bands.map((from, i) => [`dot shade-${i}`, `${i ? (records.rises ? "up to" : "from") : records.rises ? "best" : "lowest"} ${records.goalText(from, 1)}`])]);
  }

  get floor() {
    return this.records.rises ? null : this.records.floor;
  }

  // Draws a Gaussian average of the logarithms above the floor, or of the costs if there is none, in
  // bands of equal width. Returns the value at which each band begins. The surface is not drawn far
  // from all points.
  surface(points, frame) {
    if (points.length < 4) return [];
    const { floor, records } = this;
    const heights = points.map(({ best }) => (floor === null ? records.cost(best) : Math.log(Math.max(best - floor, 1e-3))));
    const [width, height] = [frame.right - frame.left, frame.bottom - frame.top];
    const grid = d3.range(GRID * GRID).map((cell) => {
      const [column, row] = [cell % GRID, Math.floor(cell / GRID)];
      let [sum, weight] = [0, 0];
      points.forEach((point, i) => {
        const dx = (column + 0.5) / GRID - (point.x - frame.left) / width;
        const dy = (row + 0.5) / GRID - (point.y - frame.top) / height;
        const near = Math.exp(-(dx * dx + dy * dy) / (2 * NEAR * NEAR));
        sum += near * heights[i];
        weight += near;
      });
      return weight < LEAST_WEIGHT ? NaN : sum / weight;
    });
    const [low, high] = rangeOf(grid);
    const bands = d3.range(SHADES).map((band) => low + ((high - low) * band) / SHADES);
    d3.contours().size([GRID, GRID]).thresholds(bands)(grid).forEach(({ coordinates }, i) => {
      const path = coordinates.flat().map((ring) =>
        `M${ring.map(([cx, cy]) => `${(frame.left + (cx / GRID) * width).toFixed(1)},${(frame.top + (cy / GRID) * height).toFixed(1)}`).join("L")}Z`).join("");
      this.layers.axes.append(svg("path", { class: `band shade-${i}`, d: path, "fill-rule": "evenodd" }));
    });
    return bands.map((band) => (floor === null ? records.cost(band) : Math.exp(band) + floor));
  }

  table() {
    const [across, up] = this.chosen("pair").split(",").map((key) => this.records.columns.get(key));
    return {
      head: ["Trial", across.title, up.title, `${this.records.goal.title} after epoch ${this.chosen("after")}`],
      rows: this.measured.map(({ index, best }) => ({
        index, cells: [this.records.trials[index], textOf(across, across.values[index]), textOf(up, up.values[index]), this.records.goalText(best)],
      })),
    };
  }
}

// The epochs at which rungs or trials end, the one with the most configurations first.
function equalEpochs(records) {
  const ends = new Set([...records.columns.get("epochs").values, ...records.curves.epochs.map((epochs) => epochs.at(-1))]);
  const counted = [...ends].map((epoch) => [epoch, bestAfter(records, epoch).length]).filter(([, count]) => count > 0);
  counted.sort((a, b) => b[1] - a[1] || b[0] - a[0]);
  return counted.map(([epoch, count]) => [String(epoch), `epoch ${epoch} (${count})`]);
}

// The best value up to an epoch, for each configuration that was measured at this epoch.
function bestAfter(records, after) {
  const { curves } = records;
  return records.all.flatMap((index) => {
    const own = curves.epochs[index];
    const reached = own.indexOf(after);
    if (reached < 0) return [];
    const costs = records.curve(index).filter(({ epoch, goal }) => epoch <= after && goal !== null).map(({ goal }) => records.cost(goal));
    return costs.length ? [{ index, best: records.cost(Math.min(...costs)) }] : [];
  });
}
