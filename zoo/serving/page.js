() => {
  // The cursor over the timeline follows whatever plays the song; a click on it goes there.
  const player = () => document.querySelector("#song audio");
  const move = () => {
    const audio = player(), cursor = document.querySelector(".timeline .cursor");
    if (!audio || !cursor || !audio.duration) return;
    cursor.hidden = false;
    cursor.style.left = `${(100 * audio.currentTime) / audio.duration}%`;
  };
  document.addEventListener("timeupdate", move, true);
  document.addEventListener("seeked", move, true);
  document.addEventListener("click", (event) => {
    const plot = event.target.closest?.(".timeline .plot"), audio = player();
    if (!plot || !audio || !audio.duration) return;
    const { left, width } = plot.getBoundingClientRect();
    audio.currentTime = (audio.duration * (event.clientX - left)) / width;
  });
}
