// A page that is being written again and again loads itself anew: not while it is out of sight,
// while somebody is at it, or after Pause. Where the reader was is found again.
(() => {
  "use strict";

  const EVERY_S = 10;
  const EVERY_WHEN_OLD_S = 60; // the watch may have ended
  const OLD_S = 300;
  const TYPED_INTO = "textarea, [contenteditable], input:not([type=checkbox], [type=radio], [type=range], [type=button])";
  const ALONE_S = 5; // so long after the last key, pointer or scroll nobody is at it
  const bar = document.getElementById("live");
  const title = bar.querySelector("b");
  const words = bar.querySelector("span");
  const time = bar.querySelector("time");
  const written = Date.parse(time.dateTime);
  const button = document.createElement("button");
  const loaded = performance.now();
  let touched = -Infinity;
  let hasMoved = false; // the reader, by a scroll of their own
  let isPaused = remember("paused") === true;

  // What outlives the page; nothing where the browser keeps nothing for files.
  function remember(name, value) {
    const key = `vaetune ${location.pathname} ${name}`;
    try {
      if (value !== undefined) sessionStorage.setItem(key, JSON.stringify(value));
      return JSON.parse(sessionStorage.getItem(key));
    } catch {
      return null;
    }
  }

  const isOld = () => Date.now() - written > OLD_S * 1000;
  const every = () => (isOld() ? EVERY_WHEN_OLD_S : EVERY_S);

  function isAlone() {
    return (
      !document.hidden &&
      performance.now() - touched >= ALONE_S * 1000 &&
      document.querySelector("dialog[open], .filters[open]") === null &&
      !document.activeElement?.matches(TYPED_INTO) &&
      String(getSelection()) === ""
    );
  }

  // No live region: a screen reader reads it when asked to, and not at each load.
  function show() {
    title.textContent = isPaused ? "Paused:" : "Live:";
    button.textContent = isPaused ? "Resume" : "Pause";
    const age = isOld() ? `, and not again in ${duration(Date.now() - written)}: watching may have ended` : "";
    const next = isPaused ? "does not refresh itself" : `refreshes itself every ${every()} s while left alone`;
    const told = `${age}; ${next}`;
    if (words.lastChild.data !== told) words.replaceChildren("written ", time, told);
  }

  function duration(ms) {
    const minutes = Math.floor(ms / 60000);
    return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h`;
  }

  function tick() {
    show();
    if (isPaused || !isAlone() || performance.now() - loaded < every() * 1000) return;
    remember("place", place());
    location.reload();
  }

  // Charts are built as they come near, so that heights differ from load to load: the place is an
  // element and how far below the window's top it is.
  // Tables below charts are there only while they are open: they do not count.
  const isFirm = (element) => !element.closest(".twin");
  const marks = () => [...document.querySelectorAll("article, article h3, article figure, article table")].filter(isFirm);

  function place() {
    const all = marks();
    const focused = document.querySelector(":focus-visible");
    const top = all.findIndex((mark) => mark.getBoundingClientRect().bottom > 0);
    return {
      top: scrollY === 0 || top < 0 ? null : { name: nameOf(all[top]), below: all[top].getBoundingClientRect().top },
      focus: focused ? nameOf(focused) : null,
      open: [...document.querySelectorAll("details[open][id]")].map((details) => details.id),
    };
  }

  // An element by what it is the how-manieth of, within the nearest that has an id.
  function nameOf(element) {
    if (element.id) return [element.id];
    const parent = element.closest("[id]") ?? document.body;
    const like = [...parent.querySelectorAll(element.localName)].filter(isFirm);
    return [parent.id, element.localName, like.indexOf(element)];
  }

  function named([id, tag, number]) {
    const parent = id ? document.getElementById(id) : document.body;
    return tag === undefined ? parent : [...(parent?.querySelectorAll(tag) ?? [])].filter(isFirm)[number];
  }

  function goBackTo({ top, focus, open }) {
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focus !== null) named(focus)?.focus({ preventScroll: true });
    const scroll = () => {
      if (hasMoved) return;
      const mark = top && named(top.name);
      const by = mark ? mark.getBoundingClientRect().top - top.below : top ? 0 : -scrollY;
      window.scrollBy({ top: by, behavior: "instant" });
    };
    scroll();
    window.addEventListener("load", () => requestAnimationFrame(() => requestAnimationFrame(scroll)));
  }

  button.type = "button";
  button.addEventListener("click", () => {
    isPaused = !isPaused;
    remember("paused", isPaused);
    show();
  });
  bar.append(button);
  show();
  const left = remember("place");
  remember("place", null);
  if (left) goBackTo(left);
  for (const kind of ["pointerdown", "keydown", "wheel", "touchmove", "pointermove", "scroll"]) {
    const listen = { capture: true, passive: true };
    window.addEventListener(kind, () => (touched = performance.now()), listen);
    if (!["pointermove", "scroll"].includes(kind)) window.addEventListener(kind, () => (hasMoved = true), listen);
  }
  setInterval(tick, 1000);
})();
