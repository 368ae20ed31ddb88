// Reloads a live page, unless it is hidden, in use or paused. After a reload, the scroll position, the
// focus and open details are restored.
(() => {
  "use strict";

  const EVERY_S = 10;
  const EVERY_WHEN_OLD_S = 60; // The watch may have ended.
  const OLD_S = 300;
  const TYPED_INTO = "textarea, [contenteditable], input:not([type=checkbox], [type=radio], [type=range], [type=button])";
  const ALONE_S = 5; // seconds without keys, pointer or scrolling after which nobody uses the page
  const bar = document.getElementById("live");
  const title = bar.querySelector("b");
  const text = bar.querySelector("span");
  const time = bar.querySelector("time");
  const written = Date.parse(time.dateTime);
  const button = document.createElement("button");
  const loaded = performance.now();
  let touched = -Infinity;
  let hasMoved = false; // true if the reader has scrolled or used keys
  let isPaused = remember("paused") === true;

  // Reads or stores a value that outlives the page. Some browsers store nothing for local files.
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

  // This is not a live region, so that screen readers do not read it after each reload.
  function show() {
    title.textContent = isPaused ? "Paused:" : "Live:";
    button.textContent = isPaused ? "Resume" : "Pause";
    const age = isOld() ? `, ${duration(Date.now() - written)} ago; the watch may have ended` : "";
    const next = isPaused ? "does not reload" : `reloads every ${every()} s while not in use`;
    const state = `${age}; ${next}`;
    if (text.lastChild.data !== state) text.replaceChildren("written at ", time, state);
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

  // Charts are built when they come into view, so heights differ after a reload. Therefore the scroll
  // position is stored as an element and its distance from the top of the window. Tables below charts
  // do not count, because they exist only while they are open.
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

  // The name of an element: the nearest id, a tag, and the element's number among these tags.
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
