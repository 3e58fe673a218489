// The browser's own tooltips come late and cannot be styled; without this script they still come.
(function () {
  var tip = document.getElementById("tip");
  document.querySelectorAll("svg title").forEach(function (title) {
    title.parentNode.setAttribute("data-tip", title.textContent);
    title.remove();
  });
  document.addEventListener("pointermove", function (event) {
    var mark = event.target.closest && event.target.closest("[data-tip]");
    if (!mark) {
      tip.className = "";
      return;
    }
    tip.textContent = mark.getAttribute("data-tip");
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
