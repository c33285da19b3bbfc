// Plays stretches of the recording, and moves one line through all lanes of the tab. It runs once; `element`
// is the component that holds the player. Listeners stand on the tab's column, as its content is replaced.
const sound = element.closest("#listen-sound") ?? element;
let end = Infinity; // where the stretch that is heard ends, in seconds
let pressed = null; // the button it belongs to

const part = (name) => sound.querySelector(name);
const clock = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

function show() {
  const audio = part("audio");
  if (!audio) return;
  const length = Number(audio.dataset.seconds);
  const at = Math.min(audio.currentTime, length);
  sound.style.setProperty("--playhead", at > 0 ? `${(100 * at) / length}%` : "-1%");
  const button = part(".player button");
  button.textContent = audio.paused ? "Play" : "Pause";
  const slider = part(".player input");
  if (document.activeElement !== slider || !audio.paused) slider.value = at;
  slider.setAttribute("aria-valuetext", `${clock(at)} of ${clock(length)}`);
  part(".player output").textContent = `${clock(at)} / ${clock(length)}`;
}

function mark(button) {
  pressed?.classList.remove("playing");
  pressed = button;
  pressed?.classList.add("playing");
}

function follow() {
  const audio = part("audio");
  if (!audio) return;
  if (audio.currentTime >= end || audio.ended) {
    audio.pause();
    end = Infinity;
    mark(null);
  }
  show();
  if (!audio.paused) requestAnimationFrame(follow);
}

async function play(start, stop, button) {
  const audio = part("audio");
  if (!audio) return;
  end = stop;
  mark(button);
  if (start !== null) audio.currentTime = start;
  audio.dataset.stretch = `${start ?? audio.currentTime}-${stop}`;
  try {
    await audio.play();
  } catch (error) {
    if (error.name === "AbortError") return; // another stretch was asked for meanwhile
    part(".player output").textContent = "this browser cannot play it";
    return;
  }
  follow();
}

sound.addEventListener("click", (event) => {
  const audio = part("audio");
  if (!audio) return;
  const segment = event.target.closest("button[data-start]");
  if (segment) {
    play(Number(segment.dataset.start), Number(segment.dataset.end), segment);
  } else if (event.target.closest(".player button")) {
    if (audio.paused) play(null, Infinity, null);
    else {
      audio.pause();
      show();
    }
  } else {
    const lane = event.target.closest(".lane");
    if (!lane) return;
    const box = lane.getBoundingClientRect();
    play(((event.clientX - box.left) / box.width) * Number(audio.dataset.seconds), Infinity, null);
  }
});

sound.addEventListener("input", (event) => {
  const audio = part("audio");
  if (!audio || !event.target.matches(".player input")) return;
  end = Infinity;
  mark(null);
  audio.currentTime = Number(event.target.value);
  show();
});
