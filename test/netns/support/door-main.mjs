// A balancer with the door for LVS users on a unix socket, for end-to-end tests: node door-main.mjs CONFIG SOCKET. Changes of the door are
// applied to the running balancer as they come and are kept nowhere.
// Guarantees: prints "ready" when traffic can flow and the socket listens; ends in order on SIGTERM.
// Thread: main.
import { createServer } from 'node:http';
import * as edit from '../../../dist/control/edit.js';
import { IpvsDoor } from '../../../dist/door/ipvs-door.js';
import { createLoadBalancer } from '../../../dist/index.js';

const [configFile, socket] = process.argv.slice(2);
const balancer = await createLoadBalancer(configFile);

function withService(config, service) {
  const others = config.services.filter(({ name }) => name !== service.name);
  return { ...config, services: [...others, service] };
}

/** The configuration after one operation. */
function applied(config, operation) {
  switch (operation.op) {
    case 'put-service':
      return withService(config, operation.service);
    case 'delete-service':
      return edit.removeService(config, operation.name);
    case 'put-server':
      return edit.addServer(config, operation.service, operation.server);
    case 'delete-server':
      return edit.removeServer(config, operation.service, operation.server);
    case 'set-weight':
      return edit.setWeight(config, operation.service, operation.server, operation.weight);
    case 'set-section':
      return { ...config, [operation.section]: operation.value };
    default:
      throw new Error(`not for the door: ${operation.op}`);
  }
}

let changes = 0;
const state = {
  get config() {
    return balancer.config;
  },
  get version() {
    return String(changes);
  },
  async change(operations) {
    await balancer.apply(operations.reduce(applied, balancer.config));
    changes += 1;
  },
};
const door = new IpvsDoor({ state, balancer }).start();
const server = createServer(async (request, response) => {
  let text = '';
  for await (const part of request) text += part;
  const { arguments: words, stdin } = JSON.parse(text);
  response.end(JSON.stringify(await door.run(words, stdin)));
});
server.listen(socket, () => process.stdout.write('ready\n'));
process.once('SIGTERM', () => {
  server.close();
  door.close();
  void balancer.close();
});
