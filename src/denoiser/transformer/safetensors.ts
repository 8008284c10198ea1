/**
 * Streaming reader of the safetensors format (huggingface/safetensors README): 8 bytes of header length, a JSON header,
 * then the tensors without gaps. Tensors go to their sinks row block by row block as the bytes arrive, so that the file
 * never has to be in memory.
 */

import * as z from 'zod';

/** The weights file is damaged, cut short, or is not of this model. The message names the tensor. */
export class SafetensorsError extends Error {
  override name = 'SafetensorsError';
}

const DTYPE_BYTES = { I8: 1, BF16: 2, F32: 4, I32: 4, I64: 8 } as const;
export type Dtype = keyof typeof DTYPE_BYTES;

export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

/** Where the rows of one tensor go. */
export interface RowSink {
  readonly rowBytes: number;
  /** Filled with whole rows, then handed over by `accept`, and filled again. */
  readonly buffer: Uint8Array;
  /** `rows` rows of the tensor, from row `first` on, are in `buffer`. */
  accept(first: number, rows: number): void;
}

/** The format's own limit is 100 MB; a header of this project has about 100 bytes a tensor. */
const MAX_HEADER_BYTES = 16 * 2 ** 20;

const offset = z.int().nonnegative();
const headerSchema = z.record(
  z.string(),
  z.object({ dtype: z.string(), shape: z.array(offset), data_offsets: z.tuple([offset, offset]) }),
);

/**
 * Reads a whole file. It takes ownership of the chunks and detaches their buffers immediately: they are outside the
 * garbage-collected heap, and tens of megabytes of them would otherwise accumulate. `open` gets all tensors of the
 * header before the first byte of data; the function that it returns for each is called when the data of that tensor
 * begin. Throws SafetensorsError, what `open` and the sinks throw, and what the stream fails with; the stream is then
 * cancelled.
 */
export async function readSafetensors(
  source: ReadableStream<Uint8Array>,
  open: (tensors: readonly TensorInfo[]) => readonly (() => RowSink)[],
): Promise<void> {
  const reader = source.getReader();
  try {
    const bytes = new ByteReader(reader);
    const tensors = parseHeader(await readHeader(bytes));
    const sinks = open(tensors);
    for (const [index, { name, byteLength }] of tensors.entries()) {
      await readTensor(bytes, sinks[index]!(), name, byteLength);
    }
    await bytes.expectEnd();
  } catch (error) {
    await reader.cancel(error).catch(() => {});
    throw error;
  }
}

async function readTensor(bytes: ByteReader, sink: RowSink, name: string, byteLength: number): Promise<void> {
  const { rowBytes, buffer } = sink;
  const rows = byteLength / rowBytes;
  const rowsAtOnce = Math.floor(buffer.length / rowBytes);
  for (let first = 0; first < rows; first += rowsAtOnce) {
    const count = Math.min(rowsAtOnce, rows - first);
    await bytes.fill(buffer.subarray(0, count * rowBytes), `tensor '${name}'`);
    sink.accept(first, count);
  }
}

async function readHeader(bytes: ByteReader): Promise<string> {
  const length = new Uint8Array(8);
  await bytes.fill(length, 'the header length');
  const headerBytes = new DataView(length.buffer).getBigUint64(0, true);
  if (headerBytes > MAX_HEADER_BYTES) {
    throw new SafetensorsError(`weights: a header of ${headerBytes} bytes, at most ${MAX_HEADER_BYTES} are read`);
  }
  const header = new Uint8Array(Number(headerBytes));
  await bytes.fill(header, 'the header');
  return new TextDecoder().decode(header);
}

/** Header text → tensors in file order. */
function parseHeader(text: string): (TensorInfo & { byteLength: number })[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new SafetensorsError('weights: the header is not JSON', { cause });
  }
  if (typeof json === 'object' && json !== null && '__metadata__' in json) delete json.__metadata__;
  const header = headerSchema.safeParse(json);
  if (!header.success) throw new SafetensorsError(`weights: header: ${z.prettifyError(header.error)}`);

  const entries = Object.entries(header.data).sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0]);
  let end = 0;
  return entries.map(([name, { dtype, shape, data_offsets }]) => {
    if (!isDtype(dtype)) throw new SafetensorsError(`weights: tensor '${name}' has the unknown dtype ${dtype}`);
    const byteLength = shape.reduce((product, size) => product * size, DTYPE_BYTES[dtype]);
    if (data_offsets[0] !== end) {
      throw new SafetensorsError(`weights: tensor '${name}' starts at byte ${data_offsets[0]}, expected ${end}`);
    }
    end = data_offsets[1];
    if (end - data_offsets[0] !== byteLength) {
      throw new SafetensorsError(
        `weights: tensor '${name}' has ${end - data_offsets[0]} bytes, its shape takes ${byteLength}`,
      );
    }
    return { name, dtype, shape, byteLength };
  });
}

function isDtype(dtype: string): dtype is Dtype {
  return Object.hasOwn(DTYPE_BYTES, dtype);
}

/** Bytes of a stream whose chunks end anywhere. */
class ByteReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array();
  #isWholeBuffer = false;

  constructor(reader: ReadableStreamDefaultReader<Uint8Array>) {
    this.#reader = reader;
  }

  /** Fills `target` with the next bytes; `what` they are is named when the stream ends before. */
  async fill(target: Uint8Array, what: string): Promise<void> {
    for (let filled = 0; filled < target.length; ) {
      if (this.#chunk.length === 0 && !(await this.#next())) {
        throw new SafetensorsError(`weights: cut short in ${what}: ${target.length - filled} bytes are missing`);
      }
      const part = this.#chunk.subarray(0, target.length - filled);
      target.set(part, filled);
      filled += part.length;
      this.#chunk = this.#chunk.subarray(part.length);
      if (this.#chunk.length === 0) this.#release();
    }
  }

  /** Reads on to the end, which must be here: a source that verifies its bytes fails only there. */
  async expectEnd(): Promise<void> {
    while (this.#chunk.length === 0) if (!(await this.#next())) return;
    throw new SafetensorsError('weights: bytes behind the last tensor');
  }

  async #next(): Promise<boolean> {
    const { done, value } = await this.#reader.read();
    if (value) {
      this.#chunk = value;
      this.#isWholeBuffer = value.byteLength === value.buffer.byteLength;
    }
    return !done;
  }

  /** Frees the buffer of a chunk that had it to itself. */
  #release(): void {
    const { buffer } = this.#chunk;
    this.#chunk = new Uint8Array();
    // Node 20 has no `transfer`.
    if (this.#isWholeBuffer && buffer instanceof ArrayBuffer) buffer.transfer?.(0);
    this.#isWholeBuffer = false;
  }
}
