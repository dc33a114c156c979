"""The functions of OpenCV that the reader needs, by opencv.js: the same C++, for tests alone.

Pyodide's own OpenCV lies only on its CDN, which tests cannot reach. Arrays are copied to opencv.js
and back.
"""

from pathlib import Path
from typing import Any

import js
import numpy as np
from pyodide.code import run_js
from pyodide.ffi import to_js

DEPTHS = [np.uint8, np.int8, np.uint16, np.int16, np.int32, np.float32, np.float64]
START = """(source, wasm) => {
    const instantiateWasm = (imports, done) => {
        const instance = new WebAssembly.Instance(new WebAssembly.Module(wasm), imports);
        done(instance);
        return instance.exports;
    };
    const module = { exports: {} };
    new Function("OPTIONS", "module", "require", "__dirname", source)(
        { instantiateWasm }, module, globalThis.require, "/");
    delete module.exports.then;  // it resolves to itself: whoever waits for it waits for ever
    return module.exports;
}"""


def _start() -> Any:
    here = Path(__file__).parent
    source = (here / "opencv.js").read_text().replace("return cv(Module);", "return cv(OPTIONS);")
    return run_js(START)(source, to_js((here / "opencv.wasm").read_bytes()))


_cv = _start()


def __getattr__(name: str) -> int:  # the constants
    value = getattr(_cv, name, None)
    if not isinstance(value, int):
        raise AttributeError(f"{__file__} has no {name} yet: write it.")
    return value


# Values ------------------------------------------------------------------------------------------


def _object(**fields: float) -> Any:
    return to_js(fields, dict_converter=js.Object.fromEntries)


def _size(size: Any) -> Any:
    return _object(width=int(size[0]), height=int(size[1]))


def _scalar(value: Any) -> Any:
    numbers = np.atleast_1d(value).tolist()
    return to_js([float(number) for number in (*numbers, 0, 0, 0, 0)[:4]])


def _mat(array: Any) -> Any:
    array = np.ascontiguousarray(array)
    channels = array.shape[2] if array.ndim == 3 else 1
    kind = DEPTHS.index(array.dtype.type) + ((channels - 1) << 3)
    mat = _cv.Mat.new(array.shape[0], array.shape[1] if array.ndim > 1 else 1, kind)
    if array.size:
        mat.data.assign(array.reshape(-1).view(np.uint8))
    return mat


def _array(mat: Any) -> Any:
    kind = mat.type()
    depth, channels = DEPTHS[kind & 7], (kind >> 3) + 1
    shape = (mat.rows, mat.cols) if channels == 1 else (mat.rows, mat.cols, channels)
    return np.frombuffer(bytearray(mat.data.to_bytes()), depth).reshape(shape)


def _called(name: str, *args: Any) -> Any:
    """What a function of opencv.js returns, then its outputs: Nones among ``args`` are those."""
    mats = [
        _cv.Mat.new() if each is None else _mat(each) if isinstance(each, np.ndarray) else each
        for each in args
    ]
    result = getattr(_cv, name)(*mats)
    outputs = [_array(mat) for mat, given in zip(mats, args, strict=True) if given is None]
    for mat, given in zip(mats, args, strict=True):
        if given is None or isinstance(given, np.ndarray):
            mat.delete()
    return result, *outputs


def _one(name: str, *args: Any) -> Any:
    return _called(name, *args)[1]


# Pixels ------------------------------------------------------------------------------------------


def resize(src: Any, dsize: Any, fx: float = 0, fy: float = 0, interpolation: int = 1) -> Any:
    return _one("resize", src, None, _size(dsize or (0, 0)), fx, fy, interpolation)


def warpAffine(src: Any, matrix: Any, dsize: Any, flags: int = 1) -> Any:  # noqa: N802
    return _one("warpAffine", src, None, matrix, _size(dsize), flags)


def getRotationMatrix2D(center: Any, angle: float, scale: float) -> Any:  # noqa: N802
    return _array(_cv.getRotationMatrix2D(_object(x=center[0], y=center[1]), angle, scale))


def copyMakeBorder(  # noqa: N802
    src: Any, top: int, bottom: int, left: int, right: int, kind: int, value: Any = 0
) -> Any:
    return _one("copyMakeBorder", src, None, top, bottom, left, right, kind, _scalar(value))


def cvtColor(src: Any, code: int) -> Any:  # noqa: N802
    return _one("cvtColor", src, None, code)


def transform(src: Any, matrix: Any) -> Any:
    return _one("transform", src, None, matrix)


def convertScaleAbs(src: Any) -> Any:  # noqa: N802
    return _one("convertScaleAbs", src, None)


def threshold(src: Any, level: float, most: float, kind: int) -> Any:
    return _called("threshold", src, None, level, most, kind)


def split(src: Any) -> Any:
    return tuple(
        np.ascontiguousarray(np.atleast_3d(src)[:, :, i])
        for i in range(np.atleast_3d(src).shape[2])
    )


def extractChannel(src: Any, channel: int) -> Any:  # noqa: N802
    return np.ascontiguousarray(src[:, :, channel])


def max(one: Any, other: Any) -> Any:
    return _one("max", one, other, None)


def min(one: Any, other: Any) -> Any:
    return _one("min", one, other, None)


def subtract(one: Any, other: Any, dtype: int = -1) -> Any:
    if dtype == -1:
        return _one("subtract", one, other, None)
    return one.astype(DEPTHS[dtype]) - other.astype(DEPTHS[dtype])


def addWeighted(  # noqa: N802
    one: Any, share: float, other: Any, rest: float, more: float, dtype: int
) -> Any:
    kind = DEPTHS[dtype]
    total = np.rint(share * one.astype(np.float64) + rest * other + more)
    return total.clip(0, np.iinfo(kind).max).astype(kind)


def LUT(src: Any, table: Any) -> Any:  # noqa: N802
    return table.ravel()[src]


def hasNonZero(src: Any) -> bool:  # noqa: N802
    return bool(src.any())


def absdiff(one: Any, other: Any) -> Any:
    if other.ndim == 1:  # a colour, which opencv.js does not take
        other = np.broadcast_to(other.astype(one.dtype), one.shape)
    return _one("absdiff", one, np.ascontiguousarray(other), None)


def transpose(src: Any) -> Any:
    return np.ascontiguousarray(src.T)


def calcHist(images: Any, channels: Any, mask: Any, size: Any, ranges: Any) -> Any:  # noqa: N802
    return np.bincount(images[0].ravel(), minlength=size[0]).astype(np.float32)


def norm(src: Any, kind: int) -> float:
    return float(_called("norm", src, kind)[0])


def minMaxLoc(src: Any, mask: Any = None) -> Any:  # noqa: N802
    found = _called("minMaxLoc", src, *([] if mask is None else [mask]))[0]
    return found.minVal, found.maxVal, found.minLoc, found.maxLoc


# Neighbourhoods ----------------------------------------------------------------------------------


def getStructuringElement(shape: int, size: Any) -> Any:  # noqa: N802
    return _array(_cv.getStructuringElement(shape, _size(size)))


def dilate(src: Any, kernel: Any) -> Any:
    return _one("dilate", src, None, kernel)


def erode(src: Any, kernel: Any, borderValue: float | None = None) -> Any:  # noqa: N803
    if borderValue is None:
        return _one("erode", src, None, kernel)
    middle, constant = _object(x=-1, y=-1), 0
    return _one("erode", src, None, kernel, middle, 1, constant, _scalar(borderValue))


def morphologyEx(src: Any, operation: int, kernel: Any) -> Any:  # noqa: N802
    return _one("morphologyEx", src, None, operation, kernel)


def blur(src: Any, size: Any) -> Any:
    return _one("blur", src, None, _size(size))


def GaussianBlur(src: Any, size: Any, sigma: float) -> Any:  # noqa: N802
    return _one("GaussianBlur", src, None, _size(size), sigma)


def medianBlur(src: Any, size: int) -> Any:  # noqa: N802
    return _one("medianBlur", src, None, size)


def distanceTransform(src: Any, kind: int, mask: int) -> Any:  # noqa: N802
    return _one("distanceTransform", src, None, kind, mask)


def distanceTransformWithLabels(  # noqa: N802
    src: Any,
    kind: int,
    mask: int,
    labelType: int,  # noqa: N803
) -> Any:
    return _called("distanceTransformWithLabels", src, None, None, kind, mask, labelType)[1:]


# Parts and outlines ------------------------------------------------------------------------------


def connectedComponents(src: Any, connectivity: int) -> Any:  # noqa: N802
    return _called("connectedComponents", src, None, connectivity)


def connectedComponentsWithStats(src: Any, connectivity: int) -> Any:  # noqa: N802
    return _called("connectedComponentsWithStats", src, None, None, None, connectivity)


def floodFill(  # noqa: N802
    image: Any, mask: Any, seed: Any, value: Any, low: Any, high: Any, flags: int
) -> None:
    mats = _mat(image), _mat(mask)
    seed = _object(x=int(seed[0]), y=int(seed[1]))
    rect = _object(x=0, y=0, width=0, height=0)
    _cv.floodFill(*mats, seed, _scalar(value), rect, _scalar(low), _scalar(high), flags)
    image[:], mask[:] = map(_array, mats)
    for mat in mats:
        mat.delete()


def findContours(image: Any, mode: int, method: int) -> Any:  # noqa: N802
    mat, found, tree = _mat(image), _cv.MatVector.new(), _cv.Mat.new()
    _cv.findContours(mat, found, tree, mode, method)
    outlines = tuple(_array(found.get(index)) for index in range(found.size()))
    hierarchy = _array(tree) if outlines else None
    for each in (mat, found, tree):
        each.delete()
    return outlines, hierarchy


def drawContours(image: Any, outlines: Any, index: int, colour: int, thickness: int) -> None:  # noqa: N802
    mat, vector = _mat(image), _cv.MatVector.new()
    for outline in outlines:
        vector.push_back(_mat(outline))
    _cv.drawContours(mat, vector, index, _scalar(colour), thickness)
    image[:] = _array(mat)
    mat.delete()
    vector.delete()


def fillConvexPoly(image: Any, corners: Any, colour: int) -> None:  # noqa: N802
    drawContours(image, [corners.reshape(-1, 1, 2)], 0, colour, -1)


def findNonZero(src: Any) -> Any:  # noqa: N802  # opencv.js lacks it
    rows, columns = np.nonzero(src)
    return np.stack([columns, rows], axis=1).astype(np.int32)[:, None] if len(rows) else None


def copyTo(src: Any, mask: Any, dst: Any) -> Any:  # noqa: N802  # opencv.js has it for Mat alone
    return np.where(mask[..., None] > 0 if src.ndim == 3 else mask > 0, src, dst)


def boundingRect(src: Any) -> Any:  # noqa: N802
    box = _called("boundingRect", src)[0]
    return int(box.x), int(box.y), int(box.width), int(box.height)


def minAreaRect(points: Any) -> Any:  # noqa: N802
    box = _called("minAreaRect", points)[0]
    return (box.center.x, box.center.y), (box.size.width, box.size.height), box.angle


def contourArea(outline: Any) -> float:  # noqa: N802
    return float(_called("contourArea", outline)[0])


def arcLength(outline: Any, closed: bool) -> float:  # noqa: N802
    return float(_called("arcLength", outline, closed)[0])


def convexHull(points: Any) -> Any:  # noqa: N802
    return _one("convexHull", points, None)


def approxPolyDP(outline: Any, distance: float, closed: bool) -> Any:  # noqa: N802
    return _one("approxPolyDP", outline, None, distance, closed)


def moments(src: Any) -> Any:
    return _called("moments", src)[0].to_py()
