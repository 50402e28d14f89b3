// What keys do to the screen of `millrace top`.
// Guarantees: pure; a key that is not listed changes nothing.
// Thread: main.
import { columnIds, DEFAULT_ORDER } from './columns.js';
import type { ScreenState } from './layout.js';
import { VIEWS, type ViewName } from './model.js';

/** As node:readline reports it. */
export interface Key {
  readonly name?: string | undefined;
  readonly sequence?: string | undefined;
  readonly ctrl?: boolean | undefined;
  readonly shift?: boolean | undefined;
}

/** One line per key, for the help of the command. */
export const KEY_HELP = [
  ['1 2 3, tab', 'services, servers, workers'],
  ['< >, left right', 'sort by the column beside'],
  ['r', 'sort the other way round'],
  ['up down, page up, page down, home, end', 'scroll'],
  ['space', 'pause'],
  ['q, Ctrl-C', 'quit'],
] as const;

export function initialState(view: ViewName): ScreenState {
  return { view, order: DEFAULT_ORDER[view], offset: 0, paused: false };
}

/** The state after a key. `page`: rows of one page; `last`: the largest offset that still shows a full page. */
export function press(state: ScreenState, key: Key, page: number, last: number): ScreenState | 'quit' | 'suspend' {
  const scroll = (offset: number): ScreenState => ({ ...state, offset: Math.max(0, Math.min(last, offset)) });
  const offset = Math.min(state.offset, last);
  if (key.ctrl) return key.name === 'c' ? 'quit' : key.name === 'z' ? 'suspend' : state;
  const index = ['1', '2', '3'].indexOf(key.sequence ?? '');
  const chosen = VIEWS[index];
  if (chosen !== undefined) return chosen === state.view ? state : { ...initialState(chosen), paused: state.paused };
  if (key.sequence === '<' || key.sequence === '>')
    return { ...state, order: { ...state.order, by: neighbour(state, key.sequence === '<' ? -1 : 1) } };
  switch (key.name) {
    case 'q':
      return 'quit';
    case 'tab': {
      const next = VIEWS[(VIEWS.indexOf(state.view) + (key.shift ? VIEWS.length - 1 : 1)) % VIEWS.length] ?? state.view;
      return { ...initialState(next), paused: state.paused };
    }
    case 'left':
      return { ...state, order: { ...state.order, by: neighbour(state, -1) } };
    case 'right':
      return { ...state, order: { ...state.order, by: neighbour(state, 1) } };
    case 'r':
      return { ...state, order: { ...state.order, reversed: !state.order.reversed } };
    case 'space':
      return { ...state, paused: !state.paused };
    case 'up':
      return scroll(offset - 1);
    case 'down':
      return scroll(offset + 1);
    case 'pageup':
      return scroll(offset - page);
    case 'pagedown':
      return scroll(offset + page);
    case 'home':
      return scroll(0);
    case 'end':
      return scroll(last);
    default:
      return state;
  }
}

function neighbour({ view, order }: ScreenState, step: number): string {
  const ids = columnIds(view);
  return ids[Math.max(0, Math.min(ids.length - 1, ids.indexOf(order.by) + step))] ?? order.by;
}
