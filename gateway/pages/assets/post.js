// Goes on by itself, once. It runs before the page has loaded: so the next page
// takes this one's place in the history, and the back button skips it.
//
// No server sees the fragment of an address. If there is one, the login begins
// anew with it, since a form would lose it.
const { again } = document.currentScript.dataset;
if (again && location.hash) location.replace(again + encodeURIComponent(location.hash));
// The method is the prototype's, for a field of the form may have its name.
else HTMLFormElement.prototype.submit.call(document.querySelector("form"));
