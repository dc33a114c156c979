// The upload: a picture by file, drop, paste, camera or example, sent as it is and never stored.
// Runs after answer.js, in the same scope.

const input = $("input[type=file]");
const drop = $(".drop");
const preview = $(".preview");
const video = $("video");
const button = Object.fromEntries([...element.querySelectorAll("button[name]")].map((b) => [b.name, b]));

async function take(file) {
  if (!file) return;
  stopCamera();
  hidePreview();
  button.clear.disabled = false;
  if (file.size > props.limit) {
    refuse(`The file is larger than ${props.limit / 2 ** 20} MB; save the picture smaller.`);
    return;
  }
  const reply = await ask(readAsDataURL(file));
  // Shown only once the server has found it to be a picture of sane size.
  if (reply && reply.verdict !== "problem") showPreview(file, reply.steps?.[0].image);
}

function showPreview(file, substitute) {
  preview.onerror = () => {
    preview.onerror = null;
    if (substitute) preview.src = substitute; // TIFF, say: the server can show what we cannot
    else hidePreview();
  };
  preview.onload = () => URL.revokeObjectURL(preview.src);
  preview.src = URL.createObjectURL(file);
  preview.alt = "The picture that was read";
  preview.hidden = false;
  element.setAttribute("data-marked", "");
}

function hidePreview() {
  preview.onerror = null;
  preview.removeAttribute("src");
  preview.alt = "";
  preview.hidden = true;
  element.removeAttribute("data-marked");
}

function clear() {
  stopCamera();
  hidePreview();
  button.clear.disabled = true;
  forget();
}

// File, drop, paste.

input.addEventListener("change", () => {
  take(input.files[0]);
  input.value = ""; // so that the same file can be chosen again
});
button.choose.addEventListener("click", () => input.click());
button.clear.addEventListener("click", clear);

for (const name of ["dragenter", "dragover", "dragleave", "drop"])
  element.addEventListener(name, (event) => {
    event.preventDefault();
    drop.toggleAttribute("data-over", name === "dragenter" || name === "dragover");
  });
element.addEventListener("drop", (event) => take(event.dataTransfer.files[0]));

document.addEventListener("paste", (event) => {
  if (visible() && event.clipboardData.files.length) take(event.clipboardData.files[0]);
});

// Camera.

async function startCamera() {
  hidePreview();
  forget();
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    refuse("The camera cannot be used: none is there, or the browser was not allowed to.");
    return;
  }
  await video.play();
  video.hidden = false;
  element.setAttribute("data-marked", "");
  button.clear.disabled = false;
  button.camera.lastElementChild.textContent = "Take it";
}

function stopCamera() {
  video.srcObject?.getTracks().forEach((track) => track.stop());
  video.srcObject = null;
  video.hidden = true;
  button.camera.lastElementChild.textContent = "Camera";
}

function shoot() {
  const still = Object.assign(document.createElement("canvas"), {
    width: video.videoWidth,
    height: video.videoHeight,
  });
  still.getContext("2d").drawImage(video, 0, 0);
  still.toBlob(take, "image/jpeg", 0.92);
}

drop.addEventListener("click", (event) => {
  if (video.hidden || event.target === input) return;
  event.preventDefault();
  shoot();
});
button.camera.addEventListener("click", () => (video.hidden ? startCamera() : shoot()));
button.camera.hidden = !navigator.mediaDevices; // only offered over https, or on this machine

// Examples.

element.querySelectorAll(".examples button").forEach((example) =>
  example.addEventListener("click", async () => take(await (await fetch(example.dataset.file)).blob())),
);
