// Countersign's own declaration of what it uses of decode.js.
export function decodeQR(
  image: { width: number; height: number; data: Uint8ClampedArray | Uint8Array },
  options?: { textDecoder?: (bytes: Uint8Array) => string },
): string;
