// How long a frame of the large pages takes: alone on the machine, since other work only ever makes frames slower.
import { expect, test } from './watched.ts';
import { LARGE_TRACE } from './shop.ts';

test('a map of a thousand services moves smoothly and is painted anew once it rests', async ({ page, request }) => {
  const small = await (await request.get('/api/v1/service-graph')).json();
  const node = small.nodes.find((n: { id: string }) => n.id === 'service:cart');
  // The server's own answer, made larger: what is tried here is the drawing.
  const nodes = Array.from({ length: 1_000 }, (_, i) => ({ ...node, id: `service:s${i}`, name: `s${i}`, x: i % 25, y: Math.floor(i / 25) * 1.3 }));
  const edges = Array.from({ length: 5_000 }, (_, i) => ({ ...small.edges[0], id: `e${i}`, source: `service:s${(i * 7) % 1_000}`, target: `service:s${(i * 131 + 17) % 1_000}`, calls: i }));
  await page.route(/service-graph\?/, (route) => route.fulfill({ json: { ...small, nodes, edges } }));
  await page.goto('/map');
  const canvas = page.locator('.map-canvas canvas');
  await expect(canvas).toBeVisible();
  const ground = await canvas.evaluate((c: HTMLCanvasElement) => [...c.getContext('2d')!.getImageData(1, 1, 1, 1).data].join());
  for (let i = 0; i < 6; i++) await page.getByRole('button', { name: 'Zoom in' }).click();
  // How much is drawn in the strip at the left edge.
  const drawn = () => canvas.evaluate((c: HTMLCanvasElement, ground: string) => {
    const data = c.getContext('2d')!.getImageData(0, 0, 150, c.height).data;
    let found = 0;
    for (let i = 0; i < data.length; i += 4) if ([data[i], data[i + 1], data[i + 2], data[i + 3]].join() !== ground) found++;
    return found;
  }, ground);
  await expect.poll(drawn).toBeGreaterThan(1_000);
  const frames = await canvas.evaluate(async (c) => {
    const { left, top } = c.getBoundingClientRect();
    const send = (type: string, x: number) => c.dispatchEvent(new PointerEvent(type, { clientX: left + 300 + x, clientY: top + 300, pointerId: 1, bubbles: true }));
    const times: number[] = [];
    send('pointerdown', 0);
    for (let i = 1; i <= 60; i++) {
      const before = performance.now();
      send('pointermove', i * 5);
      await new Promise(requestAnimationFrame);
      times.push(performance.now() - before);
    }
    return times.sort((a, b) => a - b);
  });
  test.info().annotations.push({ type: 'frames', description: `median ${frames[30].toFixed(1)} ms, p95 ${frames[57].toFixed(1)} ms` });
  expect(frames[57]).toBeLessThan(100);
  // The picture had nothing there; what is painted anew has.
  await expect.poll(drawn).toBeGreaterThan(1_000);
});

test('a trace of fifty thousand spans is drawn by few elements and scrolls', async ({ page, request }) => {
  const small = await (await request.get(`/api/v1/traces/${LARGE_TRACE}`)).json();
  // The server's own answer, made longer: what is tried here is the drawing.
  const spans = Array.from({ length: 50_000 }, (_, i) => ({ ...small.spans[1], span_id: i.toString(16).padStart(16, '0'), attributes: [], resource_attributes: [], depth: i ? 1 : 0, subtree: i ? 1 : 50_000, offset_ns: i * 60_000 }));
  await page.route(`**/api/v1/traces/${LARGE_TRACE}`, (route) => route.fulfill({ json: { ...small, spans } }));
  await page.goto(`/trace/${LARGE_TRACE}`);
  await expect(page.getByText(/50\sk/).first()).toBeVisible();
  const tree = page.getByRole('tree', { name: 'Spans' });
  await tree.focus();
  await page.keyboard.press('End');
  await expect(page.locator('#span-49999')).toBeVisible();
  expect(await page.evaluate(() => document.querySelectorAll('*').length)).toBeLessThan(2_500);
  const scroll = async (body: HTMLElement): Promise<number[]> => {
    const times: number[] = [];
    let last = performance.now();
    for (let i = 0; i < 60; i++) {
      body.scrollTop = i * 20_000;
      await new Promise(requestAnimationFrame);
      times.push(performance.now() - last);
      last = performance.now();
    }
    return times.sort((a, b) => a - b);
  };
  // The best of three, since other work on the machine only ever makes frames slower.
  let p95 = Infinity;
  for (let round = 0; round < 3; round++) {
    const frames = await tree.evaluate(scroll);
    p95 = Math.min(p95, frames[Math.floor(frames.length * 0.95)]);
  }
  test.info().annotations.push({ type: 'frames', description: `p95 ${p95.toFixed(1)} ms` });
  // The whole screen anew in every frame, on whatever machine this is: far below what a person sees as a halt.
  expect(p95).toBeLessThan(100);
});
