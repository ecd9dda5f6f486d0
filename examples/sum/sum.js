// Adds numbers: POST {"numbers":[1,2,3]} answers {"sum":6}.
addEventListener("fetch", (event) => event.respondWith(answer(event.request)));

const json = (status, value) =>
  new Response(`${JSON.stringify(value)}\n`, { status, headers: { "content-type": "application/json" } });

async function answer(request) {
  if (request.method !== "POST") return json(405, { error: 'send {"numbers":[…]} with POST' });
  let numbers;
  try {
    ({ numbers } = await request.json());
  } catch (error) {
    return json(400, { error: `not JSON: ${error.message}` });
  }
  if (!Array.isArray(numbers) || !numbers.every((number) => typeof number === "number")) {
    return json(400, { error: "numbers is no list of numbers" });
  }
  return json(200, { sum: numbers.reduce((sum, number) => sum + number, 0) });
}
