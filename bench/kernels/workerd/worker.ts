/**
 * The matrix products inside workerd: lists its cells, and repeats one of them on request. The time is measured from
 * outside (index.ts).
 */
import relaxed from '../../../build/kernels.relaxed.wasm';
import simd from '../../../build/kernels.simd.wasm';
import { matmulCells } from '../matmuls.ts';

let cells: ReturnType<typeof matmulCells> | undefined;

export default {
  fetch(request: Request): Response {
    // Not at start-up, which has a time limit.
    cells ??= matmulCells({ relaxed, simd });
    const { pathname, searchParams } = new URL(request.url);
    if (pathname === '/cells') return Response.json(cells.map(({ cell }) => cell));
    const found = cells[Number(searchParams.get('cell'))];
    if (pathname !== '/run' || found === undefined) return new Response('no such cell', { status: 404 });
    for (let left = Number(searchParams.get('repeats')); left > 0; left--) found.run();
    return new Response('done');
  },
};
