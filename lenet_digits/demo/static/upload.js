// Takes a picture by file, drop, paste, camera or example, and asks what is in it. The picture is
// shown at once, and a large one is made smaller here, before it travels.

const LARGE = 2000; // pixels: longest side of the picture that is sent
const SMALL = 400_000; // bytes: a file up to this size is sent as it is
const QUALITY = 0.9; // of the JPEG that a large photo becomes

// Listens to "picture" events (see catchFiles), too.
function makeUpload(element, engine) {
  const $ = (selector) => element.querySelector(selector);
  const input = $(".drop input");
  const photo = $("[name=photo]");
  const drop = $(".drop");
  const frame = $(".frame");
  const preview = $(".preview");
  const video = $("video");
  const touch = matchMedia("(pointer: coarse)").matches;
  const button = Object.fromEntries(
    [...element.querySelectorAll(".source button[name]")].map((b) => [b.name, b]));
  const answer = makeAnswer(element, engine, { nothing: "No picture yet", onBoxes: showBoxes });

  async function take(file) {
    if (!file) return;
    stopCamera();
    button.clear.setAttribute("aria-disabled", false);
    answer.announce("Reading…");
    showPreview(URL.createObjectURL(file));
    if (file.size > engine.limit) {
      hidePreview();
      answer.refuse(`The file is larger than ${engine.limit / 2 ** 20} MB. Save the picture smaller.`);
      return;
    }
    const smaller = await shrunk(file).catch(() => null);
    if (!smaller && isHeic(file)) {
      hidePreview();
      answer.refuse(
        "This browser cannot open HEIC photos. Send it as JPEG: on an iPhone, choose Settings, " +
        "Camera, Formats, Most Compatible.");
      return;
    }
    const reply = await answer.ask(smaller ?? file);
    if (!reply) return;
    if (reply.verdict === "problem") hidePreview();
    else if (!preview.naturalWidth && reply.steps) showPreview(reply.steps[0].image); // a TIFF, say
  }

  // The file as it is, where it is small; else redrawn with its longest side at most LARGE pixels.
  // Throws where the browser cannot decode it.
  async function shrunk(file) {
    if (file.size <= SMALL && !isHeic(file)) return file;
    const bitmap = await createImageBitmap(file);
    const scale = Math.min(1, LARGE / Math.max(bitmap.width, bitmap.height));
    const sheet = Object.assign(document.createElement("canvas"), {
      width: Math.max(1, Math.round(bitmap.width * scale)),
      height: Math.max(1, Math.round(bitmap.height * scale)),
    });
    const context = sheet.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, sheet.width, sheet.height);
    const kind = hasAlpha(context) ? "image/png" : "image/jpeg";
    const blob = await new Promise((resolve) => sheet.toBlob(resolve, kind, QUALITY));
    return blob && (isHeic(file) || blob.size < file.size) ? blob : file;
  }

  function isHeic(file) {
    return /^image\/hei[cf]/.test(file.type) || /\.hei[cf]$/i.test(file.name ?? "");
  }

  function hasAlpha(context) {
    const { data } = context.getImageData(0, 0, context.canvas.width, context.canvas.height);
    for (let i = 3; i < data.length; i += 4) if (data[i] < 255) return true;
    return false;
  }

  function showPreview(url) {
    preview.onerror = () => preview.removeAttribute("src");
    preview.onload = () => {
      URL.revokeObjectURL(url);
      placeBoxes();
    };
    preview.src = url;
    preview.alt = "The picture that is read";
    frame.hidden = false;
    element.setAttribute("data-marked", "");
  }

  function hidePreview() {
    preview.onerror = null;
    preview.removeAttribute("src");
    preview.alt = "";
    frame.hidden = true;
    element.removeAttribute("data-marked");
  }

  // The picture is as large as its place allows; the boxes lie on it, not beside it.
  function placeBoxes() {
    const [wide, high] = [preview.naturalWidth || 1, preview.naturalHeight || 1];
    const scale = Math.min(frame.clientWidth / wide, frame.clientHeight / high);
    const place = {
      left: (frame.clientWidth - wide * scale) / 2,
      top: (frame.clientHeight - high * scale) / 2,
      width: wide * scale,
      height: high * scale,
    };
    for (const [name, pixels] of Object.entries(place)) frame.style.setProperty(`--${name}`, `${pixels}px`);
  }
  new ResizeObserver(placeBoxes).observe(frame);

  // Boxes come as shares of the upright picture.
  function showBoxes(boxes, chosen) {
    $(".boxes").replaceChildren(
      ...(boxes.length < 2 ? [] : boxes).map(([left, top, right, bottom], index) => {
        const box = document.createElement("i");
        Object.assign(box.style, {
          left: `${100 * left}%`,
          top: `${100 * top}%`,
          width: `${100 * (right - left)}%`,
          height: `${100 * (bottom - top)}%`,
        });
        box.toggleAttribute("data-chosen", index === chosen);
        return box;
      }),
    );
  }

  function clear() {
    if (button.clear.getAttribute("aria-disabled") === "true") return;
    stopCamera();
    hidePreview();
    button.clear.setAttribute("aria-disabled", true);
    answer.forget();
  }

  // File and camera. A phone's own camera needs neither a permission nor https.

  for (const chooser of [input, photo])
    chooser.addEventListener("change", () => {
      take(chooser.files[0]);
      chooser.value = ""; // so that the same file can be chosen again
    });
  button.choose.addEventListener("click", () => input.click());
  button.camera.addEventListener("click", () => {
    if (touch) photo.click();
    else if (video.hidden) startCamera();
    else shoot();
  });
  // A webcam is only offered over https, or on this machine.
  button.camera.hidden = !touch && !navigator.mediaDevices;
  drop.addEventListener("click", (event) => {
    if (video.hidden || event.target === input) return;
    event.preventDefault();
    shoot();
  });
  button.clear.addEventListener("click", clear);
  arrowKeys($(".source .tools"));

  async function startCamera() {
    hidePreview();
    answer.forget();
    try {
      video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
    } catch {
      answer.refuse("The camera cannot be used: there is none, or the browser does not allow it.");
      return;
    }
    await video.play();
    video.hidden = false;
    element.setAttribute("data-marked", "");
    button.clear.setAttribute("aria-disabled", false);
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
    still.toBlob(take, "image/jpeg", QUALITY);
  }

  document.addEventListener("picture", (event) => take(event.detail));

  element.querySelectorAll(".examples button").forEach((example) =>
    example.addEventListener("click", async () => take(await (await fetch(example.dataset.file)).blob())),
  );
  return { take };
}
