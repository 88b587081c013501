// Fills the server: first the Start page of an empty one, then the shop's telemetry over OTLP/HTTP, until all of it is
// found by SQL.
import { expect, test } from '@playwright/test';
import { shop } from './shop.ts';

const OTLP = process.env.ORRERY_OTLP_HTTP_URL ?? process.env.ORRERY_OTLP_HTTP ?? 'http://127.0.0.1:4318';

test('the first span turns the start page live', async ({ page, request }) => {
  const rows = async (table: string) => {
    const answer = await request.post('/api/v1/sql', { data: { query: `SELECT count(*) AS n FROM ${table}`, format: 'json' } });
    expect(answer.ok(), await answer.text()).toBe(true);
    return Number((await answer.json()).rows[0][0]);
  };
  // A server that holds the shop already, from an earlier run, is used as it is.
  test.skip((await rows('spans')) > 0, 'the server has data');

  await page.goto('/');
  await expect(page).toHaveURL(/\/start/);
  await expect(page.getByText('waiting for the first span…')).toBeVisible();

  const { requests, ...counts } = shop(BigInt(Date.now()) * 1_000_000n);
  for (const [signal, body] of Object.entries(requests)) {
    const answer = await request.post(`${OTLP}/v1/${signal}`, { data: body });
    expect(answer.ok(), `${signal}: ${await answer.text()}`).toBe(true);
    expect((await answer.json()).partialSuccess ?? {}, signal).not.toHaveProperty('errorMessage');
  }
  for (const [table, count] of [['spans', counts.spans], ['logs', counts.logs], ['metrics', counts.points]] as const) {
    await expect.poll(() => rows(table), { message: table }).toBe(count);
  }
  await expect(page.getByText('spans have arrived')).toBeVisible();
  await page.getByRole('link', { name: 'Services' }).last().click();
  await expect(page.getByRole('heading', { name: 'Services' })).toBeVisible();
});
