// live.js keeps a page's main part up to date: after an event of the stream it
// takes the same page again, at most every 5 seconds, and exchanges the part.
// Nothing is made of text: the server wrote and escaped it.
const rest = 5000;
const state = document.getElementById("live");
let due = false, waits = false;

function tell(text) { if (state.textContent !== text) state.textContent = text; }

// written: a form that changes something holds what was not sent.
function written() {
  const changed = e => e.tagName === "SELECT" ? e.selectedIndex !== Math.max(0, [...e.options].findIndex(o => o.defaultSelected))
    : e.type === "checkbox" ? e.checked !== e.defaultChecked : "defaultValue" in e && e.value !== e.defaultValue;
  return [...document.querySelectorAll("form[method=post]")].some(f => [...f.elements].some(changed));
}

// busy: somebody writes into a field of the page, or holds a selection in it.
function busy() {
  const at = document.activeElement;
  return (at && /^(INPUT|SELECT|TEXTAREA)$/.test(at.tagName)) || String(getSelection()) !== "" || written();
}

async function renew() {
  if (waits) return;
  if (document.hidden || busy()) { due = true; return; }
  waits = true;
  due = false;
  setTimeout(() => { waits = false; if (due) renew(); }, rest);
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) throw new Error(answer.status);
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    const main = document.getElementById("main"), fresh = next.getElementById("main");
    if (busy()) { due = true; return; }
    const focus = [...main.querySelectorAll("a,[tabindex]")].indexOf(document.activeElement);
    const scrolls = [...main.querySelectorAll(".table")].map(e => e.scrollLeft);
    const opened = [...main.querySelectorAll("details")].map(e => e.open);
    main.replaceWith(document.adoptNode(fresh));
    fresh.querySelectorAll(".table").forEach((e, i) => { e.scrollLeft = scrolls[i] || 0; });
    fresh.querySelectorAll("details").forEach((e, i) => { e.open = opened[i] ?? e.open; });
    if (focus >= 0) fresh.querySelectorAll("a,[tabindex]")[focus]?.focus({ preventScroll: true });
    document.getElementById("at").textContent = next.getElementById("at").textContent;
  } catch {
    due = true;
  }
}

const stream = new EventSource("/api/v1/stream");
let first = true;
stream.addEventListener("open", () => tell("live"));
stream.addEventListener("error", () => tell("not live: driftd does not answer"));
stream.addEventListener("status", () => {
  if (first) { first = false; return; } // what the page shows already
  due = true;
  renew();
});
stream.addEventListener("ledger", () => { due = true; renew(); });
document.addEventListener("visibilitychange", () => { if (due) renew(); });
document.addEventListener("focusout", () => setTimeout(() => { if (due) renew(); }));
addEventListener("pagehide", () => stream.close());
