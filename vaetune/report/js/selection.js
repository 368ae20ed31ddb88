// The selection of a search: the selected trials, the open trial and the settings of charts. All
// charts, the table and the hash of the URL follow it.

class Selection {
  constructor(records) {
    this.records = records;
    this.followers = new Set();
    this.clear();
    this.trial = null; // id of the open trial
    this.views = new Map(); // settings of charts by name, such as "progress" -> "epochs"
    this.select();
  }

  clear() {
    this.ranges = new Map(); // inclusive ranges [low, high] by column
    this.statuses = null; // set of statuses, or null for all
    this.text = "";
    this.top = null; // number of best trials, or null for all
  }

  get isEverything() {
    return this.ranges.size === 0 && this.statuses === null && this.text === "" && this.top === null;
  }

  has(index) {
    return this.mask[index] === 1;
  }

  follow(follower) {
    this.followers.add(follower);
  }

  // Applies a change and notifies the followers.
  change(apply) {
    apply(this);
    this.select();
    for (const follower of this.followers) follower(this);
  }

  // Sets the range of a column, or clears it if null. The keep methods notify no followers.
  keepRange(key, range) {
    if (range === null) this.ranges.delete(key);
    else this.ranges.set(key, range);
  }

  setRange(key, range) {
    this.change(() => this.keepRange(key, range));
  }

  // Sets how something is shown, or resets it if null.
  keepView(name, value) {
    if (value === null) this.views.delete(name);
    else this.views.set(name, value);
  }

  setView(name, value) {
    this.change(() => this.keepView(name, value));
  }

  open(id) {
    this.change(() => (this.trial = id));
  }

  select() {
    const { records } = this;
    const words = this.text.toLowerCase().split(/\s+/).filter(Boolean);
    const ranges = [...this.ranges].map(([key, range]) => [records.columns.get(key).values, range]);
    const ranks = records.columns.get("rank").values;
    this.mask = Uint8Array.from(records.all, (index) =>
      ranges.every(([values, [low, high]]) => {
        const value = values[index];
        return value !== null && value >= low && value <= high;
      }) &&
      (this.statuses === null || this.statuses.has(records.statuses[index])) &&
      (this.top === null || (ranks[index] !== null && ranks[index] <= this.top)) &&
      words.every((word) => records.texts[index].includes(word))
        ? 1
        : 0,
    );
    this.size = this.mask.reduce((sum, one) => sum + one, 0);
  }

  // The selection as pairs of text for the hash; defaults are left out.
  write() {
    const end = (bound) => (Number.isFinite(bound) ? bound : "");
    const pairs = [...this.ranges].map(([key, [low, high]]) => [key, `${end(low)}~${end(high)}`]);
    if (this.statuses !== null) pairs.push(["status", [...this.statuses].join(",")]);
    if (this.text !== "") pairs.push(["find", this.text]);
    if (this.top !== null) pairs.push(["top", String(this.top)]);
    for (const [name, value] of this.views) pairs.push([`view.${name}`, value]);
    if (this.trial !== null) pairs.push(["trial", this.trial]);
    return pairs;
  }

  // Reads such pairs and ignores unknown keys.
  read(pairs) {
    this.change(() => {
      this.clear();
      this.trial = null;
      this.views = new Map();
      for (const [key, value] of pairs) this.readPair(key, value);
    });
  }

  readPair(key, value) {
    if (key === "status") this.statuses = new Set(value.split(","));
    else if (key === "find") this.text = value;
    else if (key === "top") this.top = Number.isInteger(Number(value)) && Number(value) > 0 ? Number(value) : null;
    else if (key === "trial") this.trial = this.records.index.has(value) ? value : null;
    else if (key.startsWith("view.")) this.views.set(key.slice(5), value);
    else if (this.records.columns.has(key)) this.readRange(key, value);
  }

  // Reads a range such as "120~135", "120~" or "~135".
  readRange(key, value) {
    const [, low, high] = /^([^~]*)~([^~]*)$/.exec(value) ?? [];
    if (low === undefined || (low === "" && high === "")) return;
    const range = [low === "" ? -Infinity : Number(low), high === "" ? Infinity : Number(high)];
    if (!range.some(Number.isNaN)) this.ranges.set(key, range);
  }
}

// The selections of all searches in the URL: #anchor?search!key=value&...
class Address {
  constructor(selections) {
    this.selections = selections; // selections by name of the search
    this.scheduled = false;
    this.read();
    for (const selection of selections.values()) selection.follow(() => this.schedule());
    window.addEventListener("hashchange", () => this.read());
  }

  read() {
    const [anchor, state] = this.split();
    this.anchor = anchor;
    if (state === null) return void this.schedule(); // A link without a state keeps the selections.
    const pairsOf = new Map([...this.selections.keys()].map((name) => [name, []]));
    for (const part of state.split("&").filter(Boolean)) {
      const [, name, key, value] = /^([^!]*)!([^=]*)=(.*)$/.exec(part) ?? [];
      if (name !== undefined) pairsOf.get(decode(name))?.push([decode(key), decode(value)]);
    }
    for (const [name, pairs] of pairsOf) this.selections.get(name).read(pairs);
    const [, ...others] = [...this.selections.values()].filter(({ trial }) => trial !== null);
    for (const selection of others) selection.open(null); // Only one trial is open at a time.
    this.goToAnchor();
  }

  goToAnchor() {
    if (this.anchor) document.getElementById(this.anchor)?.scrollIntoView({ behavior: "instant" });
  }

  split() {
    const hash = location.hash.slice(1);
    const at = hash.indexOf("?");
    return at < 0 ? [hash, null] : [hash.slice(0, at), hash.slice(at + 1)];
  }

  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    // Browsers refuse more than some hundred changes of the address within half a minute.
    setTimeout(() => {
      this.scheduled = false;
      this.write();
    }, 150);
  }

  write() {
    const parts = [...this.selections].flatMap(([name, selection]) =>
      selection.write().map(([key, value]) => `${encode(name)}!${encode(key)}=${encode(value)}`),
    );
    const hash = parts.length ? `#${this.anchor}?${parts.join("&")}` : this.anchor ? `#${this.anchor}` : "";
    if (hash !== location.hash) history.replaceState(null, "", hash || location.pathname + location.search);
  }
}

const encode = (text) => encodeURIComponent(text).replaceAll("%2C", ",").replaceAll("!", "%21");

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
