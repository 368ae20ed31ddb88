// Downloads: the selected trials as CSV, any chart as SVG or PNG. Nothing is sent over a network.

function save(name, type, content) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = html("a", { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

const fileName = (...parts) => parts.join("-").replace(/[^\w.-]+/g, "-");

// A CSV cell by RFC 4180. An apostrophe keeps spreadsheets from running a text as a formula.
function csvCell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  const text = /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function selectedCsv(records, selection) {
  const columns = [...records.columns.values()];
  const head = ["trial", "parent", "status", ...columns.map((column) => column.key), "error"];
  const rows = records.all
    .filter((index) => selection.has(index))
    .map((index) => [
      records.trials[index],
      records.parents[index],
      records.statuses[index],
      ...columns.map((column) => (column.labels.length ? (column.labels[column.values[index]] ?? null) : column.values[index])),
      records.errors[records.trials[index]],
    ]);
  return [head, ...rows].map((row) => row.map(csvCell).join(",")).join("\r\n") + "\r\n";
}

const KEPT = [
  "fill", "fill-opacity", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin", "stroke-dasharray",
  "opacity", "font-family", "font-size", "font-weight", "text-anchor", "visibility", "display",
];

// A copy of a drawing that looks the same outside the page, with styles and background included.
function standalone(drawing) {
  const { width, height } = drawing.getBoundingClientRect();
  const copy = drawing.cloneNode(true);
  const originals = [drawing, ...drawing.querySelectorAll("*")];
  [copy, ...copy.querySelectorAll("*")].forEach((element, i) => {
    if (element.closest("defs")) return; // Definitions get the styles of the elements that use them.
    const style = getComputedStyle(originals[i]);
    for (const name of KEPT) {
      if (style.getPropertyValue(name)) element.setAttribute(name, style.getPropertyValue(name));
    }
    for (const name of ["class", "tabindex", "style", "role"]) element.removeAttribute(name);
  });
  copy.querySelectorAll(".brush, [data-passing]").forEach((element) => element.remove());
  if (!copy.hasAttribute("viewBox")) copy.setAttribute("viewBox", `0 0 ${width} ${height}`);
  copy.setAttribute("xmlns", SVG);
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  const paper = getComputedStyle(document.body).backgroundColor;
  copy.prepend(svg("rect", { x: -9999, y: -9999, width: 99999, height: 99999, fill: paper }));
  return { text: new XMLSerializer().serializeToString(copy), width, height };
}

function savePng(drawing, name) {
  const { text, width, height } = standalone(drawing);
  const picture = new Image();
  picture.addEventListener("load", () => {
    const canvas = html("canvas", { width: Math.ceil(width * 2), height: Math.ceil(height * 2) });
    const pen = canvas.getContext("2d");
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => save(`${name}.png`, "image/png", blob), "image/png");
  });
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
}

// Buttons that save a drawing. find: returns the drawing when a button is pressed.
function saveButtons(find, name, title) {
  const button = (label, press) => html("button", { type: "button", onclick: press, "aria-label": `Save as ${label}: ${title}` }, label);
  return [
    button("SVG", () => save(`${name}.svg`, "image/svg+xml", standalone(find()).text)),
    button("PNG", () => savePng(find(), name)),
  ];
}
