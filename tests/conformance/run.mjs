// Runs the public HTTP cache tests with every request sent through a peer.
//
//   node run.mjs shared|private|shared-package|private-package PEER-COMMAND [OPTION-OF-SERVE...]
//
// A mode without `-package` runs the tests of the package, updated by later changes in its repository (newer.mjs).
//
// Starts the suite's server and a peer on free ports, prints the results, and compares the failures with ledger.json.
// Exits with 1 if a test fails that is not listed in the ledger, or if a listed test passes.

import { spawn } from 'node:child_process'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'

import { newer } from './newer.mjs'

const here = path.dirname(fileURLToPath(import.meta.url))
const require = createRequire(import.meta.url)
const suite = path.join(here, 'node_modules', 'http-cache-tests')
const suiteModule = file => import(pathToFileURL(path.join(suite, file)))

const [run, command, ...options] = process.argv.slice(2)
const ledgers = JSON.parse(fs.readFileSync(path.join(here, 'ledger.json'), 'utf8'))
if (!(run in ledgers) || command === undefined) {
  console.error(`usage: node run.mjs ${Object.keys(ledgers).join('|')} PEER-COMMAND [OPTION-OF-SERVE...]`)
  process.exit(2)
}
const ledger = ledgers[run]
const [mode, isOfPackage] = run.split('-')

const children = []
process.on('exit', () => children.forEach(child => child.kill()))

// Starts a child process and waits for the line that contains its address.
function start (program, words, options, listening) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'inherit'], ...options })
    children.push(child)
    let output = ''
    child.stdout.on('data', data => {
      output += data
      const found = listening.exec(output)
      if (found) resolve(found[1])
    })
    child.on('error', reject)
    child.on('exit', code => reject(new Error(`${program} ended with ${code}: ${output}`)))
  })
}

// The suite's server needs a fixed port, so find a free one.
function freePort () {
  return new Promise(resolve => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

const port = await freePort()
const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'conformance-'))
process.on('exit', () => fs.rmSync(scratch, { recursive: true, force: true }))
await start(process.execPath, ['server/server.mjs'], {
  cwd: suite,
  env: {
    ...process.env,
    npm_config_protocol: 'http',
    npm_config_port: String(port),
    npm_config_pidfile: path.join(scratch, 'pid')
  }
}, /Listening on (\S+)/)
const peerWords = ['serve', '--listen', '127.0.0.1:0', '--mode', mode, ...options]
// The suite expects responses with Set-Cookie to be stored if the origin marks them cacheable, which needs an option.
if (mode === 'shared') peerWords.push('--store-set-cookie')
const peer = await start(command, peerWords, {}, /serving on (\S+)/)

const fetch = require('node-fetch')
// Acts as a client of this crate, which knows the origin of a response; other clients get no cookies, and absolute
// URLs.
const throughPeer = (url, init = {}) => {
  const headers = Array.isArray(init.headers)
    ? [...init.headers, ['forwardcache', 'conformance']]
    : { ...init.headers, forwardcache: 'conformance' }
  return fetch(`${peer}/proxy?q=${encodeURIComponent(url)}`, { ...init, headers })
}

const { runTests, getResults } = await suiteModule('client/runner.mjs')
// Surrogate-Control tests are excluded, since no standard adopted that field (see RFC 9213).
const packaged = (await suiteModule('tests/index.mjs')).default
const sets = isOfPackage ? packaged : newer(packaged)
await runTests(sets, throughPeer, mode === 'private', `http://localhost:${port}`)
const results = getResults()

const kinds = { required: [0, 0], optimal: [0, 0], check: [0, 0] }
const failures = []
for (const test of sets.flatMap(set => set.tests)) {
  const result = results[test.id]
  // Skip tests that only apply to browsers (in shared mode) or to proxies (in private mode).
  if (result === undefined) continue
  const kind = test.kind ?? 'required'
  kinds[kind][1]++
  if (result === true) kinds[kind][0]++
  else failures.push({ kind, id: test.id, message: result.join(': ') })
}

console.log(`${mode} mode${isOfPackage ? ', the package as it is' : ''}`)
for (const [kind, [passed, all]] of Object.entries(kinds)) {
  console.log(`  ${kind.padEnd(8)} ${String(passed).padStart(3)} of ${all}`)
}
let wrong = 0
for (const { kind, id, message } of failures) {
  // A check only reports the behaviour of the cache, so it cannot fail.
  if (kind === 'check') {
    console.log(`  check    ${id}: ${message}`)
  } else if (id in ledger) {
    console.log(`  accepted ${id}: ${ledger[id]}`)
  } else {
    console.log(`  FAILED   ${id} (${kind}): ${message}`)
    wrong++
  }
}
for (const id of Object.keys(ledger)) {
  if (results[id] === true || results[id] === undefined) {
    console.log(`  FAILED   ${id} is listed in the ledger but ${results[id] ? 'passes' : 'was not run'}`)
    wrong++
  }
}
process.exit(wrong === 0 ? 0 : 1)
