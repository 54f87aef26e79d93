/* What cannot be said in attributes: a quiet mark on rows that arrived, one spoken line, the print button. Pages work without it. */
(function () {
  "use strict";
  var known = null;

  function said() { return document.getElementById("said"); }
  function rows() {
    return Array.prototype.map.call(document.querySelectorAll("#live [data-row]"), function (row) { return row.dataset.row; });
  }
  function say(words) {
    var line = said();
    if (line) { line.textContent = ""; window.setTimeout(function () { line.textContent = words; }, 50); }
  }

  document.addEventListener("htmx:beforeSwap", function (event) {
    /* a page that answers for another one (a log-in after the session ended) must not be pasted into this one */
    if (event.detail.xhr && event.detail.xhr.responseURL && /\/login(\?|$)/.test(event.detail.xhr.responseURL)) {
      event.detail.shouldSwap = false;
      window.location.reload();
      return;
    }
    known = rows();
  });
  document.addEventListener("htmx:afterSettle", function () {
    if (known === null) { return; }
    var fresh = 0;
    document.querySelectorAll("#live [data-row]").forEach(function (row) {
      if (known.indexOf(row.dataset.row) < 0) { row.classList.add("arrived"); fresh += row.tagName === "TR" ? 1 : 0; }
    });
    known = null;
    if (fresh && said()) { say(said().dataset.arrived.replace("{n}", String(fresh))); }
  });

  document.addEventListener("htmx:sseMessage", function (event) {
    var watch = document.getElementById("watch"), newer = document.getElementById("newer"), told;
    if (!watch || !newer || event.target !== watch) { return; }
    try { told = JSON.parse(event.detail.data); } catch (error) { return; }
    if (told.device === watch.dataset.device && told.slide === watch.dataset.slide) { newer.hidden = false; }
  });
  document.addEventListener("htmx:sseError", function () { if (said()) { say(said().dataset.lost); } });

  document.addEventListener("DOMContentLoaded", function () {
    document.querySelectorAll("[data-print]").forEach(function (button) {
      button.hidden = false;
      button.addEventListener("click", function () { window.print(); });
    });
  });
})();
