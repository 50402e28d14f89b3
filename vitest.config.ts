// Test projects. `forks` because a crash of the addon must end one file and not the whole run.
// unit: no privileges, no built addon. golden: needs the built addon. netns: needs root; one file at a time, since they share two cores.
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    pool: 'forks',
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: ['test/unit/**/*.test.ts', 'test/ipvsadm/**/*.test.ts'], testTimeout: 30_000 },
      },
      {
        extends: true,
        test: { name: 'golden', include: ['test/golden/*.test.ts'], testTimeout: 60_000 },
      },
      {
        extends: true,
        test: { name: 'packaging', include: ['test/packaging/*.test.ts'], testTimeout: 180_000 },
      },
      {
        extends: true,
        test: {
          name: 'netns',
          include: ['test/netns/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 180_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
