(function () {
  var hours = (Date.now() - Date.parse(document.getElementById("written").dateTime)) / 36e5;
  if (hours < 3) return;
  document.getElementById("hours").textContent =
    hours < 48 ? Math.round(hours) + " hours" : Math.round(hours / 24) + " days";
  document.getElementById("old").hidden = false;
})();
