// The Alerts page and the badges of other pages, on answers that a real server is not easily brought to give.
import { type Page } from '@playwright/test';
import { FILE, FIRING, ENDED, HOSTILE, alerts, history, noHistory, nothing } from './alerts.ts';
import { accessible, expect, test } from './watched.ts';
import { FAILING } from './shop.ts';

async function answers(page: Page, of: object = alerts(Date.now(), [FAILING]), past: object = history(Date.now())) {
  await page.route('**/api/v1/alerts', (route) => route.fulfill({ json: of }));
  await page.route('**/api/v1/alerts/history?*', (route) => route.fulfill({ json: past }));
}

for (const [path, shows] of [
  ['/alerts', ['2 firing', 'ErrorRatio of payment', 'rules/broken.yaml:7:9 is not in effect', 'pager (alertmanager) has failed', 'IngestRefused (rules/storage.yaml:4) could not be evaluated']],
  [`/alerts?alert=${FIRING}`, ['Active since', 'https://runbooks.example.org/payment', `${FILE}:5`, 'HAVING value > 0.05']],
  [`/alerts?alert=${ENDED}`, ['It ended; what is left of it is its history.', 'service_name']],
  ['/alerts?tab=rules', ['SlowCalls', '3 missed', 'not evaluated yet', 'unknown key `exprs`; did you mean `expr`?']],
  [`/alerts?tab=rules&rule=${encodeURIComponent('rules/storage.yaml/storage/IngestRefused')}`, ['the query took longer than 15 s']],
  ['/alerts?tab=notifiers', ['alertmanager', 'failing for']],
] as [string, string[]][]) {
  test(`${path} is accessible and says it all`, async ({ page }) => {
    await answers(page);
    await page.goto(path);
    for (const text of shows) await expect(page.getByText(text).first()).toBeVisible();
    await accessible(page);
  });
}

test('without rules the alerts page is accessible and offers a first file', async ({ page }) => {
  await answers(page, nothing, noHistory);
  await page.goto('/alerts');
  await expect(page.getByText('No rule is loaded')).toBeVisible();
  await expect(page.getByLabel('The rule file to copy')).toContainText('- alert: ErrorRatio');
  await expect(page.getByText('rules/first.yaml', { exact: true }).first()).toBeVisible();
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.getByRole('button', { name: 'Copy rule file' }).click();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toMatch(/^groups:\n/);
  await accessible(page);
});

test('firing alerts come first, each leads to its details, its traces and its rule', async ({ page }) => {
  await answers(page);
  await page.goto('/alerts');
  const states = page.locator('.grid.alerts tbody tr td:first-child');
  await expect(states).toHaveText(['firing', 'firing', 'pending', 'resolved']);
  await page.getByRole('row', { name: /ErrorRatio of payment/ }).first().getByRole('button').click();
  await expect(page).toHaveURL(new RegExp(`alert=${FIRING}`));
  const drawer = page.getByRole('complementary', { name: 'Details' });
  await expect(drawer.getByRole('row')).toHaveCount(6);
  await drawer.getByRole('link', { name: 'Run it for its last evaluation' }).click();
  await expect(page).toHaveURL(/\/sql\?/);
  await expect(page.getByLabel('Query')).toHaveValue(/timestamp >= \$start AND timestamp < \$end/);
  const { searchParams } = new URL(page.url());
  expect(Date.parse(searchParams.get('end')!) - Date.parse(searchParams.get('start')!)).toBe(300_000);
  await expect(page.getByText(/\d+\srows?/).first()).toBeVisible();
  await page.goBack();
  await drawer.getByRole('link', { name: FAILING.slice(0, 8) }).click();
  await expect(page).toHaveURL(new RegExp(`/trace/${FAILING}`));
});

test('the history draws when it was pending and when it fired', async ({ page }) => {
  const now = Date.now();
  await answers(page, alerts(now, []), history(now));
  await page.goto('/alerts');
  const lane = page.locator('.lane').filter({ hasText: 'service_name=checkout' });
  // It was pending when the hour began and fired from 44 to 31 minutes ago: 13 of 60 minutes.
  await expect(lane.locator('.stretch')).toHaveCount(2);
  const part = await lane.locator('.stretch.firing').evaluate((s) => s.getBoundingClientRect().width / s.parentElement!.getBoundingClientRect().width);
  expect(part).toBeGreaterThan(12.5 / 60);
  expect(part).toBeLessThan(13.5 / 60);
  await lane.getByRole('button').click();
  await expect(page).toHaveURL(new RegExp(`alert=${ENDED}`));
  await page.getByLabel('Find an alert').fill('checkout');
  await expect(page.locator('.lane:not(.axis)')).toHaveCount(1);
  await expect(page.getByText('No alert matches')).toBeVisible();
});

test('what fires is a badge at the service, on its page, on the map and in the rail', async ({ page }) => {
  await answers(page);
  await page.goto('/services');
  await expect(page.getByRole('row', { name: /payment/ }).getByRole('link', { name: '1 firing for payment' })).toBeVisible();
  await expect(page.getByRole('link', { name: '1 firing for post/mailer' })).toBeVisible();
  await expect(page.locator('.badge.firing')).toHaveCount(2);
  await expect(page.getByRole('navigation').getByRole('link', { name: /Alerts/ })).toContainText('2 firing');
  await page.goto('/services/payment');
  await expect(page.getByRole('link', { name: '1 firing for payment' })).toBeVisible();
  await page.goto('/map?view=table');
  await expect(page.getByRole('row', { name: /checkout.*payment/ }).getByRole('link', { name: '1 firing for payment' })).toBeVisible();
  await page.goto('/map?node=service%3Apayment');
  await expect(page.getByRole('complementary', { name: 'Details' }).getByRole('link', { name: '1 firing for payment' })).toBeVisible();
  await expect(page.getByRole('application', { name: /Alerts fire for 2 services/ })).toBeVisible();
  await page.getByRole('complementary', { name: 'Details' }).getByRole('link', { name: '1 firing for payment' }).click();
  await expect(page).toHaveURL(/\/alerts\?.*find=payment/);
});

test('the map paints a badge on the node that fires', async ({ page }) => {
  // Pixels of the warning's colour: the shop has no other amber on its map.
  const amber = () => page.locator('.map-canvas canvas').evaluate((c: HTMLCanvasElement) => {
    const probe = document.createElement('canvas').getContext('2d')!;
    probe.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--warn').trim();
    probe.fillRect(0, 0, 1, 1);
    const [r, g, b] = probe.getImageData(0, 0, 1, 1).data;
    const data = c.getContext('2d')!.getImageData(0, 0, c.width, c.height).data;
    let found = 0;
    for (let i = 0; i < data.length; i += 4) if (data[i] === r && data[i + 1] === g && data[i + 2] === b) found++;
    return found;
  });
  await answers(page, nothing, noHistory);
  await page.goto('/map');
  await expect(page.getByRole('application', { name: /Service map of/ })).toBeVisible();
  await expect.poll(amber).toBe(0);
  await page.unroute('**/api/v1/alerts');
  await answers(page);
  await page.reload();
  await expect.poll(amber).toBeGreaterThan(100);
});

test('a page that is read stays put while it is kept up to date', async ({ page }) => {
  let firing = true;
  await page.route('**/api/v1/alerts/history?*', (route) => route.fulfill({ json: history(Date.now()) }));
  await page.route('**/api/v1/alerts', (route) => {
    const answer = alerts(Date.now(), [FAILING]);
    if (!firing) Object.assign(answer.alerts[0], { state: 'resolved', resolved_at: answer.alerts[3].resolved_at });
    return route.fulfill({ json: answer });
  });
  await page.goto(`/alerts?alert=${FIRING}`);
  const drawer = page.getByRole('complementary', { name: 'Details' });
  const run = drawer.getByRole('link', { name: 'Run it for its last evaluation' });
  await run.focus();
  const place = await drawer.locator('.drawer-body').evaluate((body) => (body.scrollTop = 120));
  firing = false;
  await page.getByRole('button', { name: 'Refresh' }).evaluate((button: HTMLButtonElement) => button.click());
  await expect(drawer.locator('.tile').first()).toContainText('resolved');
  await expect(run).toBeFocused();
  expect(await drawer.locator('.drawer-body').evaluate((body) => body.scrollTop)).toBe(place);
});

test('what a rule puts into a label is text', async ({ page }) => {
  await answers(page);
  await page.goto('/alerts');
  await expect(page.getByText(HOSTILE).first()).toBeVisible();
  expect(await page.locator('main img').count()).toBe(0);
  expect(await page.title()).toContain('Alerts');
});

test('alerts of another namespace are counted, not hidden in silence', async ({ page }) => {
  await answers(page);
  await page.goto('/alerts?ns=shop');
  await expect(page.locator('.grid.alerts tbody tr')).toHaveCount(3);
  await expect(page.getByText('1 more say that they are of another environment or namespace.')).toBeVisible();
});

test.describe('on a phone', () => {
  test.use({ viewport: { width: 380, height: 760 } });
  for (const path of ['/alerts', `/alerts?alert=${FIRING}`, '/alerts?tab=rules', '/alerts?tab=notifiers']) {
    test(`${path} fits`, async ({ page }) => {
      await answers(page);
      await page.goto(path);
      await expect(page.getByRole('heading', { name: 'Alerts' })).toBeVisible();
      await expect(page.getByText(/firing/).first()).toBeVisible();
      expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(380);
    });
  }
});

test.describe('a server without alerts', () => {
  test.use({ failingRequests: true });
  test('the alerts page says why it shows nothing, and the others work', async ({ page }) => {
    await page.route('**/api/v1/alerts', (route) => route.fulfill({ status: 503, json: { error: { code: 'internal', message: 'the rules are not read yet' } } }));
    await page.goto('/alerts');
    await expect(page.getByText('the rules are not read yet')).toBeVisible();
    await expect(page.getByRole('button', { name: 'Try again' })).toBeVisible();
    await page.goto('/services');
    await expect(page.getByRole('link', { name: 'storefront' })).toBeVisible();
  });
});
