/* Keys, and quiet updates: "/" finds, a page that nobody sees or that somebody is in the midst of is left alone, and
   says so; what was asked for and did not come is said where it would stand. */
"use strict";
(() => {
  const ways = { o: "", w: "receipts", f: "files", q: "queues", a: "actions" };
  let gone = 0;
  document.addEventListener("keydown", (event) => {
    const at = event.target;
    if (event.metaKey || event.ctrlKey || event.altKey) return;
    if (at instanceof HTMLElement && (at.isContentEditable || /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName))) {
      if (event.key === "Escape") at.blur();
      return;
    }
    if (event.key === "/") {
      const find = document.getElementById("find");
      if (find) { event.preventDefault(); find.focus(); find.select(); }
    } else if (event.key === "g") {
      gone = Date.now();
    } else if (event.key in ways && Date.now() - gone < 1200) {
      location.assign("/console/" + ways[event.key]);
    }
  });
  const isLive = (part) => part instanceof HTMLElement && part.classList.contains("live");
  const tables = () => [...document.querySelectorAll(".live .scroll")];
  document.addEventListener("htmx:beforeRequest", (event) => {
    const part = event.target, at = document.activeElement;
    if (!isLive(part)) return;
    const held = (part.contains(at) && !at.classList.contains("scroll")) || String(getSelection()) !== "";
    const said = part.querySelector(".paused");
    if (said) said.hidden = !held;
    if (held || document.hidden) event.preventDefault();
  });
  let places = new Map(), focused = null;
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (!isLive(event.detail.target)) return;
    places = new Map(tables().map((each) => [each.ariaLabel, each.scrollLeft]));
    focused = tables().includes(document.activeElement) ? document.activeElement.ariaLabel : null;
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (!isLive(event.target)) return;
    for (const each of tables()) {
      each.scrollLeft = places.get(each.ariaLabel) || 0;
      if (each.ariaLabel === focused) each.focus({ preventScroll: true });
    }
  });
  const tell = (event, text, tone) => {
    const place = event.detail.target;
    if (!place || place.id !== "tried") return;
    const note = document.createElement("div"), line = document.createElement("p");
    note.className = "note " + tone;
    line.textContent = text;
    note.append(line);
    place.replaceChildren(note);
  };
  const why = (answer) => {
    const page = new DOMParser().parseFromString(answer.responseText, "text/html");
    const said = page.querySelector("main .lead");
    return "Nothing was tried out (" + answer.status + "). " + (said ? said.textContent.trim() : "");
  };
  document.addEventListener("htmx:beforeSend", (event) => tell(event, "Working…", ""));
  document.addEventListener("htmx:responseError", (event) => tell(event, why(event.detail.xhr), "bad"));
  document.addEventListener("htmx:sendError", (event) => tell(event, "Nothing was tried out: the console does not answer.", "bad"));
  document.addEventListener("htmx:afterRequest", (event) => {
    const part = event.detail.elt;
    if (part.classList.contains("live")) document.getElementById("lost").hidden = event.detail.successful;
  });
  document.addEventListener("submit", (event) => {
    const said = event.target.dataset && event.target.dataset.sure;
    if (said && !confirm(said)) event.preventDefault();
  });
})();
