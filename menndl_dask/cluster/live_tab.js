// Asks for the state of the search each second, and for its report when that was written anew.
(function () {
  var shown = null, byId = document.getElementById.bind(document);
  function showReport(version) {
    var old = document.querySelector("iframe:not(.next)"), next = document.createElement("iframe");
    document.querySelectorAll("iframe.next").forEach(function (frame) { frame.remove(); });
    next.className = "next";
    next.title = "report of the search";
    next.src = "menndl/report?" + encodeURIComponent(version);
    next.onload = function () {  // the old one stays until the new one is there, and gives it its place on the page
      if (old) {
        var before = old.contentDocument.querySelectorAll("details");
        next.contentDocument.querySelectorAll("details").forEach(function (each, n) {
          if (before[n]) each.open = before[n].open;
        });
        next.contentWindow.scrollTo(0, old.contentWindow.scrollY);
        old.remove();
      }
      next.className = "";
    };
    byId("report").appendChild(next);
  }
  async function look() {
    if (document.hidden) return;
    try {
      var state = await (await fetch("menndl/state", {cache: "no-store"})).json();
    } catch (error) {
      byId("dot").className = "";
      byId("line").textContent = "no answer: the search has ended, or the connection is lost. Its report is in the run directory.";
      return;
    }
    byId("dot").className = state.phase ? "on" : "";
    byId("phase").textContent = state.phase || "waiting for a search";
    byId("line").textContent = state.line || "";
    byId("workers").textContent = state.busy + " of " + state.workers + " workers busy";
    if (state.done === undefined) byId("bar").removeAttribute("value");
    else byId("bar").value = state.done;
    document.title = (state.title ? state.title + " – " : "") + "menndl";
    if (state.version && state.version !== shown) showReport(shown = state.version);
  }
  look();
  setInterval(look, 1000);
})();
