// Builds the charts, the selection and the pages of trials for each search of the page.

const VIEWS = {
  rungs: (host, page) => new Rungs(host, page),
  curves: (host, page) => new Curves(host, page),
  progress: (host, page) => new Progress(host, page),
  timeline: (host, page) => new Timeline(host, page),
  parallel: (host, page) => new Parallel(host, page),
  slices: buildSlices,
  contour: (host, page) => new Contour(host, page),
  parameters: (host, page) => new Scatter(host, page, { name: "parameters", title: `${page.records.goal.title} against size`, x: "parameters", y: page.records.goal.key, front: true, ratio: 0.85 }),
  seconds: (host, page) => new Scatter(host, page, { name: "seconds", title: `${page.records.goal.title} against training time`, note: page.records.continues ? "Wall time includes the trials that a trial continues." : "", x: "total_s", y: page.records.goal.key, front: true, legend: false, ratio: 0.85 }),
  latent: (host, page) => new Scatter(host, page, { name: "latent", title: `${page.records.goal.title} against latent_dim`, x: "latent_dim", y: page.records.goal.key, front: true, legend: false, ratio: 0.85 }),
  distortion: (host, page) => new Scatter(host, page, { name: "distortion", title: "Distortion against rate", note: "Reconstruction (distortion) and KL (rate) add up to the negative ELBO.", x: "kl", y: "reconstruction", front: true, legend: false, ratio: 0.85 }),
};

// The number of hyperparameters that must differ for a chart to be shown.
const MIN_DIFFERING = { parallel: 1, slices: 1 };

// Number of trials up to which all charts are built at once. Charts of more trials are built when the
// browser is idle or when they come into view.
const AT_ONCE = 200;

// A tooltip about the trial under the pointer or at the keyboard's position.
class Tip {
  constructor(records) {
    this.records = records;
    this.box = html("div", { class: "tip", hidden: true, "aria-hidden": "true" });
    document.body.append(this.box);
  }

  show(index, left, top) {
    const [first, ...rest] = this.records.describe(index);
    this.box.replaceChildren(html("b", {}, first), ...rest.map((line) => html("span", {}, line)));
    this.box.hidden = false;
    const { width, height } = this.box.getBoundingClientRect();
    this.box.style.left = `${Math.max(4, Math.min(left + 14, innerWidth - width - 8))}px`;
    this.box.style.top = `${top + 18 + height > innerHeight ? Math.max(4, top - height - 14) : top + 18}px`;
  }

  hide() {
    this.box.hidden = true;
  }
}

// One search of the page with its records, its selection, and all views of them.
class SearchPage {
  constructor(article, data, selection, records) {
    Object.assign(this, { article, anchor: article.id, records, selection, pictures: data.pictures });
    this.tip = new Tip(records);
    this.inSight = new Set(); // visible elements
    const observe = (react, rootMargin) => new IntersectionObserver((entries) => entries.forEach(react), { rootMargin });
    this.watcher = observe((entry) => this.seen(entry), "0px");
    this.builder = observe(({ target, isIntersecting }) => isIntersecting && this.build(target), "400px");
    this.views = new Map(); // charts and the table, by element
    this.waiting = new Map(); // functions that build a chart, by element
  }

  start() {
    const { article } = this;
    new Filters(article.querySelector("[data-selection]"), this);
    this.trialPage = new TrialPage(this);
    for (const host of article.querySelectorAll("[data-view]")) {
      if (this.records.differing.length < (MIN_DIFFERING[host.dataset.view] ?? 0)) continue;
      const { numeric } = this.records;
      if (host.dataset.view === "contour" && (numeric.length < 2 || equalEpochs(this.records).length === 0)) continue;
      host.hidden = false;
      this.waiting.set(host, VIEWS[host.dataset.view]);
      this.builder.observe(host);
    }
    const table = article.querySelector("table.sortable");
    this.views.set(table, [new TrialsTable(table, this)]);
    this.watcher.observe(table);
    window.addEventListener("beforeprint", () => this.buildAll());
    if (this.records.count <= AT_ONCE) this.buildAll();
    else this.buildWhenIdle();
  }

  buildAll() {
    [...this.waiting.keys()].forEach((host) => this.build(host));
    for (const view of [...this.views.values()].flat()) if (view.isStale) view.update();
  }

  buildWhenIdle() {
    const [host] = this.waiting.keys();
    if (!host) return;
    const idly = window.requestIdleCallback ?? ((react) => setTimeout(react, 50));
    idly(() => {
      this.build(host);
      this.buildWhenIdle();
    });
  }

  open(index, from) {
    this.tip.hide();
    for (const page of pages) if (page !== this) page.selection.open(null); // Only one trial is open at a time.
    this.trialPage.open(index, from);
  }

  isInSight(view) {
    for (const host of this.inSight) if (this.views.get(host)?.includes(view)) return true;
    return false;
  }

  seen({ target, isIntersecting }) {
    if (!isIntersecting) return void this.inSight.delete(target);
    this.inSight.add(target);
    for (const view of this.views.get(target) ?? []) if (view.isStale) view.update();
  }

  build(host) {
    if (!this.waiting.has(host)) return;
    const make = this.waiting.get(host);
    this.waiting.delete(host);
    this.builder.unobserve(host);
    this.views.set(host, [make(host, this)].flat());
    this.watcher.observe(host);
  }
}

// Opens all <details> while the page is printed.
function openForPrint() {
  const closed = [...document.querySelectorAll("article details:not([open])")];
  for (const details of closed) details.open = true;
  window.addEventListener("afterprint", () => closed.forEach((d) => (d.open = false)), { once: true });
}

// Adds buttons that save a chart without interaction.
function saveStatic(figure) {
  const drawing = figure.querySelector(".chart svg");
  if (!drawing) return;
  const title = drawing.getAttribute("aria-label") ?? "chart";
  const search = pages.find(({ article }) => article.contains(drawing))?.records.name ?? "searches";
  const name = fileName(search, title.split(" ").slice(0, 3).join("-").toLowerCase());
  figure.append(html("p", { class: "tools" }, ...saveButtons(() => drawing, name, title)));
}

const selections = new Map();
const pages = [...document.querySelectorAll("script[data-search]")].map((source) => {
  const data = JSON.parse(source.textContent);
  const records = new Records(data);
  const selection = new Selection(records);
  selections.set(records.name, selection);
  return new SearchPage(document.getElementById(source.dataset.search), data, selection, records);
});
const address = new Address(selections);
for (const page of pages) page.start();
address.goToAnchor(); // The charts have moved the anchor.
document.querySelectorAll("figure").forEach((figure) => figure.closest("[data-view]") || saveStatic(figure));
document.documentElement.classList.add("alive");
window.addEventListener("beforeprint", openForPrint);
