// The data of a search, from the page's JSON: trials by index, and a column for each number.

const SHADES = 7; // number of shades of colour for ranks

class Records {
  constructor(data) {
    Object.assign(this, data);
    this.columns = new Map(data.columns.map((column) => [column.key, column]));
    this.hyperparameters = data.columns.filter((column) => column.kind === "hyperparameter");
    this.differing = this.hyperparameters.filter((column) => column.differs);
    this.numeric = this.differing.filter((column) => column.labels.length === 0);
    this.count = data.trials.length;
    this.all = Array.from({ length: this.count }, (_, index) => index);
    this.index = new Map(data.trials.map((id, index) => [id, index]));
    this.parent = data.parents.map((id) => (id === null ? null : (this.index.get(id) ?? null)));
    this.children = this.all.map(() => []);
    this.parent.forEach((parent, index) => parent !== null && this.children[parent].push(index));
    this.continues = this.parent.some((parent) => parent !== null); // some trial continues another
    this.winnerIndex = data.winner === null ? null : this.index.get(data.winner);
    this.winners = new Set(this.winnerIndex === null ? [] : this.lineage(this.winnerIndex));
    // What ranks the trials: the loss, or an objective of which larger values are better.
    this.goal = this.columns.get(data.objective ? "objective" : "loss");
    this.goalCurves = data.curves.objective ?? data.curves.val;
    this.goalName = data.objective?.title ?? "loss";
    this.rises = data.objective?.rises ?? false;
    this.quantiles = this.rankTrials();
    this.collapses = new Set(data.collapsed);
    this.texts = this.all.map((index) => this.searchable(index));
  }

  // What is better is smaller.
  cost(value) {
    return this.rises ? -value : value;
  }

  // A value of the goal as text, such as "94.2 %"; a loss has no unit here.
  goalText(value, decimals = this.objective?.decimals ?? 2) {
    return `${nats(value, decimals)}${this.goal.unit === "%" && value !== null && value !== undefined ? " %" : ""}`;
  }

  value(key, index) {
    return this.columns.get(key).values[index];
  }

  isFailed(index) {
    return this.statuses[index] === "failed";
  }

  isUnfinished(index) {
    return !["completed", "failed"].includes(this.statuses[index]);
  }

  // The status of a trial, such as "failed" or "completed, collapsed".
  status(index) {
    return this.statuses[index] + (this.collapses.has(this.trials[index]) ? ", collapsed" : "");
  }

  // The trials of a configuration up to this one, oldest first.
  lineage(index) {
    const line = [];
    for (let at = index; at !== null; at = this.parent[at]) line.unshift(at);
    return line;
  }

  // All trials of the configuration that a trial belongs to.
  family(index) {
    const found = [];
    const visit = (at) => {
      found.push(at);
      this.children[at].forEach(visit);
    };
    visit(this.lineage(index)[0]);
    return found;
  }

  // The epochs of a trial and the trials that it continues: {epoch, goal, val, reconstruction, kl, train}.
  curve(index) {
    return this.lineage(index).flatMap((at) =>
      this.curves.epochs[at].map((epoch, row) => ({
        epoch,
        goal: this.goalCurves[at][row],
        val: this.curves.val[at][row],
        reconstruction: this.curves.reconstruction[at][row],
        kl: this.curves.kl[at][row],
        train: this.curves.train[at][row],
      })),
    );
  }

  describe(index) {
    const reached = this.goal.values[index];
    const rank = this.value("rank", index);
    const collapsed = this.collapses.has(this.trials[index]) ? ", collapsed" : "";
    const place = rank === null ? this.statuses[index] : `rank ${rank}${collapsed}`;
    const values = this.hyperparameters
      .filter((column) => column.differs)
      .map((column) => `${column.title} ${textOf(column, column.values[index])}`);
    return [
      `Trial ${this.trials[index]}, ${place}`,
      reached === null ? `no ${this.goalName}` : `${this.goalName} ${this.goalText(reached)} at epoch ${this.value("best_epoch", index)}`,
      ...values,
    ];
  }

  // The seventh of the ranking that each trial belongs to, 0 for the best. Ranks are used for
  // colours instead of losses, because the distribution of losses is skewed.
  rankTrials() {
    const { values } = this.goal;
    const order = this.all.filter((i) => values[i] !== null && !this.isFailed(i)).sort((a, b) => this.cost(values[a]) - this.cost(values[b]));
    const quantiles = this.all.map(() => null);
    order.forEach((index, place) => (quantiles[index] = Math.floor((place / order.length) * SHADES)));
    return quantiles;
  }

  searchable(index) {
    const values = this.hyperparameters.map((column) => `${column.title}=${textOf(column, column.values[index])}`);
    const texts = [this.trials[index], this.status(index), ...values, this.errors[this.trials[index]] ?? ""];
    return texts.join(" ").toLowerCase();
  }
}
