// Shows times in the reader's own zone. Without scripts they are in UTC, and say so.
for (const time of document.querySelectorAll("time[datetime]")) {
  time.textContent = new Date(time.dateTime).toLocaleString(document.documentElement.lang, {
    dateStyle: "medium", timeStyle: "short",
  });
}
