// Draws the latent means of validation images. Coordinates are 0..STEPS along both axes.

const STEPS = 255;
const COLOURS = 10;

function drawLatent({ x, y, axis_names: names }, { labels, class_names: classes }) {
  const paths = new Map();
  x.forEach((across, i) => {
    const label = labels === null ? 0 : labels[i];
    paths.set(label, `${paths.get(label) ?? ""}M${across},${STEPS - y[i]}h.01`);
  });
  const drawing = svg("svg", { class: "latent", viewBox: "-8 -8 271 271", role: "img", "aria-label": `Latent means: ${names.join(" against ")}` },
    [...paths].sort(([a], [b]) => a - b).map(([label, path]) => svg("path", { class: lookOf(label), d: path })));
  const legend = classes.map((name, label) => html("li", {}, html("i", { class: lookOf(label) }), name));
  return [drawing, html("ul", { class: "classes" }, legend), html("p", { class: "note" }, `Horizontal axis: ${names[0]}. Vertical axis: ${names[1]}.`)];
}

// Classes from the eleventh on reuse the colours with another shape.
const lookOf = (label) => `class-${label % COLOURS} ${label < COLOURS ? "round" : "square"}`;
