// SPDX-License-Identifier: EPL-1.0+
//
// Graphile Worker's part in .ci/peers.py, with the settings that its documentation recommends for speed: jobs fetched
// in batches (localQueue), ends reported in batches (completeJobBatchDelay), prepared statements.
//
//   node graphile.mjs install|run|bulk|single URL [jobs] [file or table]

import { appendFileSync } from "node:fs";
import { makeWorkerUtils, run, runMigrations } from "graphile-worker";
import pg from "pg";

const [mode, url, count, place] = process.argv.slice(2);
const quiet = { log() {} };
const { Logger } = await import("graphile-worker");
const logger = new Logger(() => () => quiet.log());
const preset = {
  worker: {
    connectionString: url,
    concurrentJobs: 24,
    maxPoolSize: 26,
    pollInterval: 2000,
    localQueue: { size: 500 },
    completeJobBatchDelay: 0,
    failJobBatchDelay: 0,
    logger,
  },
};

if (mode === "install") {
  await runMigrations({ connectionString: url, logger });
} else if (mode === "run") {
  const pool = new pg.Pool({ connectionString: url, max: 16 });
  await run({
    preset,
    taskList: {
      noop: () => {},
      nap: () => new Promise((wake) => setTimeout(wake, 5)),
      insert: async (payload) => {
        await pool.query({ name: "insert", text: "insert into result (a, b) values ($1, $2)", values: payload });
      },
      stamp: (payload) => appendFileSync(place, `${payload[0]} ${Date.now() / 1000 + (performance.now() % 1) / 1e6}\n`),
    },
  });
} else {
  const utils = await makeWorkerUtils({ connectionString: url, logger, maxPoolSize: 1 });
  const jobs = Array.from({ length: 1000 }, () => ({ identifier: "noop", payload: [1, 2] }));
  const start = performance.now();
  if (mode === "bulk") for (let done = 0; done < count; done += 1000) await utils.addJobs(jobs);
  else for (let done = 0; done < count; done++) await utils.addJob("noop", [1, 2]);
  console.log(count / ((performance.now() - start) / 1000));
  await utils.release();
}
