/* What cannot be said in attributes: a quiet mark on rows that arrived, one spoken line, the live connection's state, the print button.
   Pages work without it. */
(function () {
  "use strict";
  var LOST_AFTER_MS = 20000, ASLEEP_AFTER_MS = 60000, PULL_EACH_MS = 2000;
  var lastPull = 0, pullTimer = 0;
  var known = null, source = null, asleep = false, broken = false, lostTimer = 0, sleepTimer = 0;

  function by(id) { return document.getElementById(id); }
  function rows() {
    return Array.prototype.map.call(document.querySelectorAll("#live [data-row]"), function (row) { return row.dataset.row; });
  }
  function say(words) {
    var line = by("said");
    if (line) { line.textContent = ""; window.setTimeout(function () { line.textContent = words; }, 50); }
  }

  /* of many events at once the page asks for itself only now and then, and once more after the last of them */
  document.addEventListener("htmx:beforeRequest", function (event) {
    if (event.detail.elt.id !== "pull") { return; }
    var wait = lastPull + PULL_EACH_MS - Date.now();
    if (wait <= 0) { lastPull = Date.now(); return; }
    event.preventDefault();
    if (!pullTimer) { pullTimer = window.setTimeout(function () { pullTimer = 0; window.htmx.trigger("#pull", "refresh"); }, wait); }
  });

  document.addEventListener("htmx:beforeSwap", function () { known = rows(); });
  document.addEventListener("htmx:afterSettle", function () {
    if (known === null) { return; }
    var fresh = 0;
    document.querySelectorAll("#live [data-row]").forEach(function (row) {
      if (known.indexOf(row.dataset.row) < 0) { row.classList.add("arrived"); fresh += row.tagName === "TR" ? 1 : 0; }
    });
    known = null;
    if (fresh) { say(by("said").dataset.arrived.replace("{n}", String(fresh))); }
  });

  /* the page of one slide is not changed under a reader's eyes: it says that there is news */
  document.addEventListener("htmx:sseMessage", function (event) {
    var watch = by("watch"), told;
    if (!watch || event.target !== watch) { return; }
    try { told = JSON.parse(event.detail.data); } catch (error) { return; }
    if (!told.slide || (told.device === watch.dataset.device && told.slide === watch.dataset.slide)) { by("newer").hidden = false; }
  });

  /* a connection that stays away is told; after each return the page asks for itself, for what it missed */
  document.addEventListener("htmx:sseError", function () {
    broken = true;
    if (!lostTimer) { lostTimer = window.setTimeout(function () { by("lost").hidden = false; }, LOST_AFTER_MS); }
  });
  document.addEventListener("htmx:sseOpen", function () {
    window.clearTimeout(lostTimer);
    lostTimer = 0;
    by("lost").hidden = true;
    if (broken && by("pull")) { window.htmx.trigger("#pull", "refresh"); }
    broken = false;
  });

  /* browsers open six connections to a host: a page that nobody looks at gives its own back */
  if (window.htmx) {
    window.htmx.createEventSource = function (address) {
      source = new EventSource(address, { withCredentials: true });
      return source;
    };
  }
  document.addEventListener("visibilitychange", function () {
    window.clearTimeout(sleepTimer);
    if (document.hidden) {
      sleepTimer = window.setTimeout(function () { if (source) { source.close(); asleep = true; } }, ASLEEP_AFTER_MS);
    } else if (asleep && source && source.onerror) {
      asleep = false;
      source.onerror(new Event("error"));
    }
  });

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-print]").forEach(function (button) {
      button.hidden = false;
      button.addEventListener("click", function () { window.print(); });
    });
  });
})();
