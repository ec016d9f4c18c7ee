// Tests that the suite's repository has added or changed since its package was released.
//
// The package (0.4.5) treats an invalid Age as very old. RFC 9111 section 5.1 says to ignore it, and the repository has
// reversed these tests. Tests for interim responses and tests that only apply to CDNs are not included.

const cached = 'cached'
const notCached = 'not_cached'

// A response with these fields, and the expected type of the next response.
function then (fields, expected) {
  return [{ response_headers: fields, setup: true, pause_after: true }, { expected_type: expected }]
}

function ages () {
  const rows = [
    ['nonnumeric', ['abc'], cached],
    ['negative', ['-7200'], cached],
    ['float', ['7200.0'], cached],
    ['large-minus-one', ['2147483647'], notCached],
    ['large', ['2147483648'], notCached],
    ['larger', ['2147483649'], notCached],
    ['suffix', ['7200, 0'], notCached],
    ['prefix', ['0, 7200'], cached],
    ['suffix-twoline', ['7200', '0'], notCached],
    ['prefix-twoline', ['0', '7200'], cached],
    ['dup-0', ['0, 0'], cached],
    ['dup-0-twoline', ['0', '0'], cached],
    ['dup-old', ['1800', '1800'], cached],
    ['parameter', ['7200;foo=bar'], notCached, 'check'],
    ['numeric-parameter', ['7200;foo=111'], notCached, 'check']
  ]
  return rows.map(([id, lines, expected, kind = 'required']) => ({
    id: `age-parse-${id}`,
    name: `Age ${lines.join(' | ')}`,
    kind,
    requests: then([['Date', 0], ['Cache-Control', 'max-age=3600'], ...lines.map(line => ['Age', line, false])], expected)
  }))
}

function dates () {
  const understood = {
    '32bit': 'Tue, 19 Jan 2038 14:14:08 GMT',
    'far-future': 'Sun, 21 Nov 2286 04:46:39 GMT',
    rfc850: 'Thursday, 18-Aug-50 02:01:18 GMT',
    'ansi-c': 'Thu Aug  8 02:01:18 2050',
    'wrong-case-weekday': 'THU, 18 Aug 2050 02:01:18 GMT',
    'wrong-case-month': 'Thu, 18 AUG 2050 02:01:18 GMT',
    'wrong-case-tz': 'Thu, 18 Aug 2050 02:01:18 gMT'
  }
  const invalid = {
    utc: ['Thu, 18 Aug 2050 02:01:18 UTC'],
    aest: ['Thu, 18 Aug 2050 02:01:18 AEST'],
    '2-digit-year': ['Thu, 18 Aug 50 02:01:18 GMT'],
    'no-comma': ['Thu 18 Aug 2050 02:01:18 GMT'],
    'multiple-spaces': ['Thu, 18  Aug  2050 02:01:18 GMT'],
    'date-dashes': ['Thu, 18-Aug-2050 02:01:18 GMT'],
    'time-periods': ['Thu, 18 Aug 2050 02.01.18 GMT'],
    '1-digit-hour': ['Thu, 18 Aug 2050 2:01:18 GMT'],
    'multiple-lines': ['Thu, 18 Aug 2050 2:01:18 GMT', 'Thu, 18 Aug 2050 2:01:19 GMT']
  }
  const test = (id, lines, kind, expected) => ({
    id: `freshness-expires-${id}`,
    name: `Expires ${lines.join(' | ')}`,
    kind,
    requests: then([...lines.map(line => ['Expires', line, false]), ['Date', 0]], expected)
  })
  return [
    ...Object.entries(understood).map(([id, line]) => test(id, [line], 'optimal', cached)),
    ...Object.entries(invalid).map(([id, lines]) => test(`invalid-${id}`, lines, 'required', notCached))
  ]
}

function stale () {
  const forbidden = [['must-revalidate', false], ['proxy-revalidate', true], ['no-cache', false], ['s-maxage=2', true]]
  const window = 'max-age=1, stale-while-revalidate=4'
  return [
    // The gateway must respond with 502 if the origin does not respond.
    ...forbidden.map(([directive, isOfProxies]) => ({
      id: `stale-close-${directive}`,
      name: `no stale response after ${directive}`,
      browser_skip: isOfProxies,
      requests: [
        { response_headers: [['Cache-Control', `max-age=2, ${directive}`]], setup: true, pause_after: true },
        {
          disconnect: true,
          expected_status: 502,
          check_body: false,
          expected_response_headers_missing: ['server-request-count']
        }
      ]
    })),
    {
      id: 'stale-while-revalidate',
      name: 'stale while revalidating',
      kind: 'optimal',
      requests: then([['Cache-Control', 'max-age=1, stale-while-revalidate=3600'], ['ETag', '"abc"']], cached)
    },
    {
      id: 'stale-while-revalidate-window',
      name: 'not stale after the window',
      requests: [
        { setup: true, pause_after: true, response_headers: [['Cache-Control', window], ['ETag', '"abc"']] },
        {
          setup: true,
          pause_after: true,
          response_headers: [['Cache-Control', 'no-cache', false], ['ETag', '"def"', false]],
          expected_type: cached
        },
        { expected_response_headers: [['client-request-count', '3']] }
      ]
    }
  ]
}

function others () {
  const month = 30 * 24 * 60 * 60
  const keeps = field => [
    { response_headers: [['Expires', month], ['Date', 0]], pause_after: true, setup: true },
    { expected_type: cached, expected_response_headers: [field] }
  ]
  return [
    { id: 'other-date-update-expires', name: 'Date stays', requests: keeps(['Date', 0]) },
    { id: 'other-date-update-expires-update', name: 'Expires stays', kind: 'check', requests: keeps(['Expires', month]) },
    {
      id: 'freshness-expires-invalid-date',
      name: 'Expires with an invalid Date',
      kind: 'optimal',
      requests: [
        { response_headers: [['Date', 'foo', false], ['Expires', 10]], setup: true },
        { expected_type: cached }
      ]
    },
    {
      id: 'partial-use-stored-headers',
      name: 'a part has the fields of the whole',
      requests: [
        { response_headers: [['Cache-Control', 'max-age=3600'], ['A', '1']], response_body: '01234567890', setup: true },
        {
          request_headers: [['Range', 'bytes=0-1']],
          expected_type: cached,
          expected_status: 206,
          expected_response_text: '01',
          expected_response_headers: [['A', '1']]
        }
      ]
    }
  ]
}

// Returns the tests of the package, updated by the tests above.
export function newer (sets) {
  const tests = new Map(sets.flatMap(set => set.tests).map(test => [test.id, test]))
  for (const test of [...ages(), ...dates(), ...stale(), ...others()]) {
    const { kind, ...known } = tests.get(test.id) ?? {}
    tests.set(test.id, { ...known, ...test })
  }
  // RFC 9111 section 4.4 leaves these cases open.
  for (const [id, test] of tests) if (/^invalidate-.*-(location|cl)$/.test(id)) test.kind = 'check'
  return [{ tests: [...tests.values()] }]
}
