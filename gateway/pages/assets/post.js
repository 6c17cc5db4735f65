// Goes on by itself, once. It runs before the page has loaded: so the next page
// takes this one's place in the history, and the back button skips it.
//
// No server sees the fragment of an address. If there is one, the login begins
// anew with it, since a form on the way would lose it. If the address would be longer than
// every proxy takes, the fragment is lost.
const { again } = document.currentScript.dataset;
const kept = again + encodeURIComponent(location.hash);
const form = document.querySelector("form");
if (again && location.hash && kept.length < 8000) location.replace(kept);
// The method is the prototype's, for a field of the form may have its name.
else if (form) HTMLFormElement.prototype.submit.call(form);
else location.replace(document.querySelector("main a").href);
