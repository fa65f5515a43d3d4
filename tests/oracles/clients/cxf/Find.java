// Logs in and finds people with the classes that wsdl2java made, all in the packages `login` and `person`.

import jakarta.xml.ws.WebServiceException;
import java.net.URI;
import java.util.List;
import java.util.stream.Collectors;
import login.LoginService;
import login.TokenRequest;
import login.TokenResponse;
import person.EmployeePerson_Service;
import person.EmployeeNumberIdentifier;
import person.EmployeeQuery;
import person.ObjectFactory;
import person.PersonFindResponse;

public class Find {
    public static void main(String[] arguments) throws Exception {
        String base = System.getenv("BASE");
        String key = System.getenv("CUSTOMER_API_KEY");
        var login = new LoginService(URI.create(base + "/LoginService?wsdl").toURL()).getWSHttpBindingILoginService();
        TokenResponse answer = login.authenticate(new TokenRequest(), key, System.getenv("PASSWORD"), System.getenv("USER_API_KEY"), System.getenv("USERNAME"));
        String token = answer.getToken();

        var service = new EmployeePerson_Service(URI.create(base + "/EmployeePerson?wsdl").toURL());
        var person = service.getWSHttpBindingIEmployeePerson();
        var make = new ObjectFactory();
        EmployeeQuery query = make.createEmployeeQuery();
        query.setPageSize(make.createEmployeeQueryPageSize("2"));
        query.setLastName(make.createEmployeeQueryLastName("LIKE (%wick)"));
        PersonFindResponse found = person.findPeople(query, key, token);
        List<person.EmployeePerson> people = found.getResults().getValue().getEmployeePerson();
        String names = people.stream().map(one -> one.getLastName().getValue()).collect(Collectors.joining(","));
        var first = people.get(0).getPeople().getValue().getPerson().get(0);
        var identifier = (EmployeeNumberIdentifier) first.getEmployeeIdentifier().getValue();
        String mail = first.getEmailAddress().getValue() + ", " + identifier.getEmployeeNumber().getValue();
        int total = found.getOperationResult().getValue().getPagingInfo().getValue().getTotalItems();

        String refused;
        try {
            person.findPeople(query, key, "no-token");
            refused = "taken";
        } catch (WebServiceException fault) {
            refused = fault.getMessage();
        }
        System.out.println(answer.getStatus().value() + " " + names + " (" + mail + ") of " + total + "; a wrong token: " + refused);
    }
}
