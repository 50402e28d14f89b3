// Samples of a daemon with traffic, for tests of `millrace top`.
import type { ServiceViewBody } from '../../../src/api/contract.js';
import { paint } from '../../../src/cli/table.js';
import { initialState } from '../../../src/cli/top/keys.js';
import { type LayoutOptions, layout, type ScreenState } from '../../../src/cli/top/layout.js';
import { advance, type Model, type Sample } from '../../../src/cli/top/model.js';
import { counters, serverView, serviceView, statusView, workerView } from '../client/support/views.js';

/** Counters grow by `scale` units a second of `counters()`; see there. */
export function sampleAt(seconds: number, services: readonly ServiceViewBody[] = servicesAt(seconds)): Sample {
  return {
    at: seconds * 1000,
    status: statusView(),
    services,
    workers: [workerView(0, 1 + seconds), workerView(1, 1 + 3 * seconds)],
  };
}

export function servicesAt(seconds: number): ServiceViewBody[] {
  const busy = counters(1 + 100 * seconds);
  const calm = counters(1 + seconds);
  return [
    serviceView('calm', [serverView('192.0.2.11:80', 'up', { counters: calm })], { counters: calm }),
    serviceView('web', [serverView('192.0.2.9:80', 'up', { counters: busy }), serverView('192.0.2.10:80', 'down')], {
      counters: busy,
      quorum: false,
    }),
  ];
}

export function modelAfter(seconds: number): Model {
  let model: Model | undefined;
  for (let at = 0; at <= seconds; at += 1) model = advance(model, sampleAt(at));
  if (model === undefined) throw new Error('no sample');
  return model;
}

export function screen(model: Model, state: Partial<ScreenState> = {}, options: Partial<LayoutOptions> = {}): string[] {
  const whole = { ...initialState(state.view ?? 'services'), ...state };
  return layout(model, whole, {
    columns: 80,
    rows: 24,
    ink: paint({ isTTY: false }),
    unicode: true,
    place: '/run/x',
    ...options,
  });
}
