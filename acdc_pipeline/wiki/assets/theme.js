// Loaded in the head, so that the chosen theme applies before the page is painted.
(function () {
  "use strict";
  var root = document.documentElement;
  var chosen = null;
  try { chosen = localStorage.getItem("theme"); } catch (error) { /* storage may be forbidden */ }
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  root.classList.add("js");
  var kept = {}, waiting = 0;
  // Called by the data scripts.
  window.wikiData = function (name, value) { kept[name] = value; };
  window.wikiGet = function (name, then, failed) {
    if (name in kept) { then(kept[name]); return; }
    function end(call) {
      try { if (call) call(kept[name]); }
      finally { if (!--waiting) root.removeAttribute("aria-busy"); }
    }
    var script = document.createElement("script");
    script.src = root.dataset.root + "data/" + name + ".js";
    script.onload = function () { end(name in kept ? then : failed); };
    script.onerror = function () { end(failed); };
    waiting++;
    root.setAttribute("aria-busy", "true");
    document.head.appendChild(script);
  };
})();
