// What a page does about its own address.
//
// No server sees the fragment of an address. So the links that lead back to it
// take the fragment along.
for (const link of document.querySelectorAll('a[href*="return="]')) {
  const url = new URL(link.href);
  const back = url.searchParams.get("return");
  if (location.hash && back && !back.includes("#")) {
    url.searchParams.set("return", back + location.hash);
    link.href = url;
  }
}

// A reload of this page must not send a provider's answer again.
const { address } = document.currentScript.dataset;
if (address) history.replaceState(null, "", address);
