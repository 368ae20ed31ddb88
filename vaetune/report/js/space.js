// What mattered: the loss over each hyperparameter, and over each pair of them.

// One small chart for each hyperparameter that differs; the darker, the longer a trial was trained.
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
  const longer = budgets.length > 1 ? `; the stronger its colour, the longer it was trained (${budgets.join(", ")} epochs)` : "";
  host.before(html("h4", { class: "block" }, "Loss over each hyperparameter"), html("p", { class: "note" }, `A point a trial${longer}. The winner is blue, what failed is a red cross on the upper edge.`));
  return charts.map(([place, column]) =>
    new Scatter(place, page, {
      name: `slice-${column.key}`,
      title: column.title,
      note: "",
      legend: false,
      x: column.key,
      y: "loss",
      shade,
      across: false,
      ratio: 0.8,
      most: 280,
    }),
  );
}

const GRID = 40;

// The loss over two hyperparameters at equal epochs: measured points on a smoothed surface.
class Contour extends Chart {
  constructor(host, page) {
    const { differing } = page.records;
    const pairs = differing.flatMap((a, i) => differing.slice(i + 1).map((b) => [`${a.key},${b.key}`, `${a.title} and ${b.title}`]));
    super(host, page, {
      name: "contour",
      title: "Loss over two hyperparameters",
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
    const measured = lossesAfter(records, after).map(({ index, loss }) => ({
      index, loss, x: x(across.values[index]), y: y(up.values[index]),
    }));
    this.measured = measured;
    const chosen = measured.filter(({ index }) => records.family(index).some((one) => this.selection.has(one)));
    this.surface(chosen, frame);
    drawAxis(layers.axes, x, "bottom", frame, { title: x.title(across), count: (frame.right - frame.left) / 70, rules: false });
    drawAxis(layers.axes, y, "left", frame, { title: y.title(up), rules: false });
    this.mark(measured);
    this.noteLine.textContent =
      `Losses of ${chosen.length} configurations, each at its lowest up to epoch ${after}, so that budgets are not mixed; ` +
      "the surface is their average weighted by nearness, on the logarithm above the entropy floor, and says little where there are no points.";
    this.explain([["dot shade-0", "low loss"], [`dot shade-${SHADES - 1}`, "high loss"], ...this.usualLooks()]);
  }

  // A Gaussian average of the logarithms, cut into bands at equal shares of the configurations.
  surface(points, frame) {
    if (points.length < 4) return;
    const { floor } = this.records;
    const heights = points.map(({ loss }) => Math.log(Math.max(loss - floor, 1e-3)));
    const [width, height] = [frame.right - frame.left, frame.bottom - frame.top];
    const reach = 0.12;
    const grid = new Float64Array(GRID * GRID);
    for (let row = 0; row < GRID; row++) {
      for (let column = 0; column < GRID; column++) {
        let [sum, weight] = [0, 0];
        points.forEach((point, i) => {
          const dx = ((column + 0.5) / GRID) - (point.x - frame.left) / width;
          const dy = ((row + 0.5) / GRID) - (point.y - frame.top) / height;
          const near = Math.exp(-(dx * dx + dy * dy) / (2 * reach * reach)) + 1e-9;
          sum += near * heights[i];
          weight += near;
        });
        grid[row * GRID + column] = sum / weight;
      }
    }
    const sorted = Float64Array.from(grid).sort();
    const bands = Array.from({ length: SHADES }, (_, i) => sorted[Math.floor((i / SHADES) * sorted.length)]);
    const contours = d3.contours().size([GRID, GRID]).thresholds([...new Set(bands)]);
    contours(Array.from(grid)).forEach(({ coordinates }, i) => {
      const path = coordinates.flat().map((ring) =>
        `M${ring.map(([cx, cy]) => `${(frame.left + (cx / GRID) * width).toFixed(1)},${(frame.top + (cy / GRID) * height).toFixed(1)}`).join("L")}Z`).join("");
      this.layers.axes.append(svg("path", { class: `band shade-${i}`, d: path, "fill-rule": "evenodd" }));
    });
  }

  table() {
    const [across, up] = this.chosen("pair").split(",").map((key) => this.records.columns.get(key));
    return {
      head: ["Trial", across.title, up.title, `Loss after epoch ${this.chosen("after")}`],
      rows: this.measured.map(({ index, loss }) => ({
        index, cells: [this.records.trials[index], short(across.values[index]), short(up.values[index]), nats(loss)],
      })),
    };
  }
}

// The epochs that rungs end at, the one with the most configurations first.
function equalEpochs(records) {
  const ends = [...new Set(records.columns.get("epochs").values)].sort((a, b) => a - b);
  const counted = ends.map((epoch) => [epoch, lossesAfter(records, epoch).length]).filter(([, count]) => count > 0);
  counted.sort((a, b) => b[1] - a[1] || b[0] - a[0]);
  return counted.map(([epoch, count]) => [String(epoch), `epoch ${epoch} (${count})`]);
}

// The lowest loss of each configuration that was measured at an epoch, up to that epoch.
function lossesAfter(records, after) {
  const { curves } = records;
  return records.all.flatMap((index) => {
    const own = curves.epochs[index];
    const reached = own.indexOf(after);
    if (reached < 0) return [];
    const losses = records.curve(index).filter(({ epoch, val }) => epoch <= after && val !== null).map(({ val }) => val);
    return losses.length ? [{ index, loss: Math.min(...losses) }] : [];
  });
}
