// Logs in and finds people with the npm package `soap`, given the address of the WSDL. The package has no WS-Addressing: it sends the
// action in the content type alone, and its user adds the header Action, which UKG Pro needs.

'use strict';
const soap = require('soap');

const { BASE, CUSTOMER_API_KEY, PASSWORD, USER_API_KEY, USERNAME } = process.env;
const LOGIN = 'http://www.ultipro.com/services/loginservice';
const PERSON = 'http://www.ultipro.com/services/employeeperson';
const AUTHENTICATION = 'http://www.ultimatesoftware.com/foundation/authentication';
const ADDRESSING = 'http://www.w3.org/2005/08/addressing';

async function client(service, action, headers) {
  const made = await soap.createClientAsync(`${BASE}/${service}?wsdl`, { forceSoap12Headers: true });
  made.addSoapHeader({ Action: action }, '', 'wsa', ADDRESSING);
  for (const [name, namespace, value] of headers) made.addSoapHeader({ [name]: value }, '', 'h', namespace);
  return made;
}

async function main() {
  const login = await client('LoginService', `${LOGIN}/ILoginService/Authenticate`, [
    ['ClientAccessKey', LOGIN, CUSTOMER_API_KEY],
    ['Password', LOGIN, PASSWORD],
    ['UserAccessKey', LOGIN, USER_API_KEY],
    ['UserName', LOGIN, USERNAME],
  ]);
  const [answer] = await login.AuthenticateAsync({});
  const find = (token, query) =>
    client('EmployeePerson', `${PERSON}/IEmployeePerson/FindPeople`, [
      ['ClientAccessKey', `${AUTHENTICATION}/clientaccesskey`, CUSTOMER_API_KEY],
      ['UltiProToken', `${AUTHENTICATION}/ultiprotoken`, token],
    ]).then((person) => person.FindPeopleAsync({ query }));
  const [found] = await find(answer.Token, { LastName: 'LIKE (%wick)', PageSize: '2' });
  const { OperationResult, Results } = found.FindPeopleResult;
  const names = Results.EmployeePerson.map((person) => person.LastName).join(',');
  const [first] = Results.EmployeePerson[0].People.Person;
  const mail = `${first.EmailAddress}, ${first.EmployeeIdentifier.EmployeeNumber}`;
  const refused = await find('no-token', {}).then(
    () => 'taken',
    (error) => error.root?.Envelope?.Body?.Fault?.Reason?.Text?.$value ?? error.message,
  );
  console.log(`${answer.Status} ${names} (${mail}) of ${OperationResult.PagingInfo.TotalItems}; a wrong token: ${refused}`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
