// The browser's own tooltips come late and cannot be styled; without this script they still come.
(function () {
  var tip = document.getElementById("tip");
  document.querySelectorAll("svg title").forEach(function (title) {
    title.parentNode.setAttribute("data-tip", title.textContent);
    title.remove();
  });
  document.addEventListener("pointermove", function (event) {
    // marks may lie on each other: all that are under the pointer say what they are
    var under = [event.target].concat(document.elementsFromPoint(event.clientX, event.clientY));
    var texts = under.map(function (element) {
      var mark = element.closest && element.closest("[data-tip]");
      return mark && mark.getAttribute("data-tip");
    }).filter(function (text, place, all) { return text && all.indexOf(text) === place; });
    if (!texts.length) {
      tip.className = "";
      return;
    }
    var more = texts.length > 4 ? "\n\n… and " + (texts.length - 4) + " more" : "";
    tip.textContent = texts.slice(0, 4).join("\n\n") + more;
    tip.className = "on";
    var x = event.clientX + 14, y = event.clientY + 14;
    tip.style.left = Math.max(4, Math.min(x, innerWidth - tip.offsetWidth - 6)) + "px";
    tip.style.top = (y + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 10 : y) + "px";
  });
})();
// While its run runs, the page is written anew now and then.
(function () {
  var seconds = Number(document.documentElement.dataset.refresh || 0);
  if (!seconds || window !== window.top) return;
  setInterval(function () {
    if (!document.hidden && !String(getSelection())) location.reload();
  }, 1000 * seconds);
})();
